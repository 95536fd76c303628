"""A load profile: which calls, how many a second, for how long, what must hold. Read from YAML; errors have lines."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.core.errors import OperatorError

PROFILES = Path(__file__).parents[1] / "profiles"

EVERY = "*"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Slo(_Part):
    """What must hold; what is left out need not."""

    p50_ms: float | None = Field(default=None, gt=0)
    p95_ms: float | None = Field(default=None, gt=0)
    p99_ms: float | None = Field(default=None, gt=0)
    error_rate: float | None = Field(default=0.0, ge=0, le=1)
    """Most errors, as a share of all calls."""
    rate: float | None = Field(default=None, gt=0)
    """Fewest calls a second."""


class Entry(_Part):
    """Calls of one task, its examples in turn."""

    task: str
    """A task's name; ``*`` is each task of the server that no other entry names."""
    protocol: Literal["rest", "grpc"]
    live: bool = False
    """Calls of its live methods, at the pace of their examples, and none of the others."""
    optional: bool = False
    """Leave it out where the server has no such task."""
    weight: int = Field(default=1, ge=1, le=1000)
    """Share of the users that are left by entries that say how many."""
    users: int | None = Field(default=None, ge=1, le=10_000)
    """Of each method, exactly so many."""
    period: float | None = Field(default=None, gt=0)
    """Seconds from one call of a user to its next; left out, as the profile's rate makes it."""
    slo: Slo | None = None
    """Of these calls, which then do not count to all calls. Of live ones, times are to the first and final answer."""

    @property
    def calls(self) -> str:
        """What reports call the way in which these calls are made."""
        return f"{self.protocol} live" if self.live else self.protocol


class Profile(_Part):
    """One load test."""

    description: str
    seconds: float = Field(gt=0, le=86_400)
    """How long it is measured."""
    warmup: float = Field(default=2.0, ge=0, le=3600)
    """Seconds before that, not counted."""
    users: int = Field(ge=1, le=10_000)
    """Calls in flight at most."""
    rate: float | None = Field(default=None, gt=0)
    """Calls a second, over all users; left out, each user calls again as soon as it is answered."""
    timeout: float = Field(default=10.0, gt=0)
    """Seconds a call may take."""
    mix: tuple[Entry, ...] = Field(min_length=1)
    slo: Slo = Slo()
    """Of all calls together, but those of entries with one of their own."""


def read_profile(file: Path) -> Profile:
    """The profile in a file.

    Raises:
        OperatorError: no such file, no YAML, or not a profile; names file, line, and what is allowed.
    """
    root = _compose(file)
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (ValueError, KeyError, AttributeError, yaml.YAMLError) as error:  # a tag or date that cannot be one
        raise OperatorError(f"{file}: a value is not what it says it is: {error}") from error
    try:
        return Profile.model_validate(content)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False)
        # A field there is not is likely the misspelt name of one that is missing.
        problem = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
        message = _sentence(problem["loc"], problem["type"], problem["msg"])
        raise OperatorError(f"{file}:{_line(root, problem['loc'])}: {message}") from error


def _compose(file: Path) -> yaml.Node | None:
    """The nodes of a file, which know their lines."""
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), yaml.SafeLoader)
    except (OSError, ValueError) as error:
        raise OperatorError(f"{file}: cannot be read: {error}; bundled: {_bundled()}") from error
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise OperatorError(f"{file}{line}: not YAML: {getattr(error, 'problem', None) or error}") from error
    if twice := next(_repeated(root), None):
        raise OperatorError(f"{file}:{twice.start_mark.line + 1}: {twice.value} is there twice")
    return root


def _repeated(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    """Keys that are in one mapping twice; of profiles only: mappings in mappings or lists, no deeper than three."""
    nodes = [node]
    for _ in range(4):
        mappings = [one for one in nodes if isinstance(one, yaml.MappingNode)]
        for mapping in mappings:
            keys = [key for key, _ in mapping.value if isinstance(key, yaml.ScalarNode)]
            yield from (key for at, key in enumerate(keys) if key.value in {one.value for one in keys[:at]})
        below = [value for mapping in mappings for _, value in mapping.value]
        nodes = below + [one for node in nodes if isinstance(node, yaml.SequenceNode) for one in node.value]


def find_profile(name: str) -> Path:
    """A path, or the name of a bundled profile."""
    bundled = PROFILES / f"{name}.yaml"
    return bundled if bundled.is_file() else Path(name)


def entries(profile: Profile, tasks: Sequence[str], file: Path) -> list[tuple[str, Entry]]:
    """Each entry with the task it calls.

    Raises:
        OperatorError: an entry names a task that the server has not, or what another entry names; with its line.
    """
    named, root = {entry.task for entry in profile.mix} - {EVERY}, _compose(file)
    seen: set[tuple[str, str]] = set()
    found = []
    for number, entry in enumerate(profile.mix):
        where = f"{file}:{_line(root, ('mix', number, 'task'))}"
        if entry.task not in (EVERY, *tasks):
            if entry.optional:
                continue
            raise OperatorError(
                f"{where}: no task {entry.task!r} at this server; it has: {', '.join(tasks)}, or '*' for each"
            )
        if (entry.task, entry.calls) in seen:
            raise OperatorError(f"{where}: {entry.task} over {entry.calls} is in the mix twice; give it a weight")
        seen.add((entry.task, entry.calls))
        chosen = [task for task in tasks if task not in named] if entry.task == EVERY else [entry.task]
        found += [(task, entry) for task in chosen]
    return found


def _bundled() -> str:
    return ", ".join(sorted(path.stem for path in PROFILES.glob("*.yaml")))


def _sentence(loc: tuple[int | str, ...], kind: str, message: str) -> str:
    where = ".".join(map(str, loc)) or "the file"
    if kind == "extra_forbidden":
        return f"{where}: no such field; allowed: {', '.join(_model_at(loc).model_fields)}"
    if kind == "model_type":
        return f"{where}: give these fields: {', '.join(_model_at(loc).model_fields)}"
    if kind == "missing":
        return f"{where}: is missing"
    return f"{where}: {message[:1].lower()}{message[1:]}"


def _model_at(loc: tuple[int | str, ...]) -> type[BaseModel]:
    if "slo" in loc[:-1]:
        return Slo
    return Entry if "mix" in loc[:-1] else Profile


def _line(node: yaml.Node | None, loc: Sequence[int | str]) -> int:
    """The line of a place in the file, or of the nearest thing around it that there is."""
    line = node.start_mark.line + 1 if node else 1
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            pair = (node.value[part], node.value[part])
        else:
            pair = None
        if pair is None:
            break
        line, node = pair[0].start_mark.line + 1, pair[1]
    return line
