"""A load profile: which calls, how many a second, for how long, what must hold. Read from YAML; errors have lines."""

from collections.abc import Sequence
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
    weight: int = Field(default=1, ge=1, le=1000)
    slo: Slo | None = None


class Profile(_Part):
    """One load test."""

    description: str
    seconds: float = Field(gt=0, le=86_400)
    """How long it is measured."""
    warmup: float = Field(default=2.0, ge=0)
    """Seconds before that, not counted."""
    users: int = Field(ge=1, le=10_000)
    """Calls in flight at most."""
    rate: float | None = Field(default=None, gt=0)
    """Calls a second, over all users; left out, each user calls again as soon as it is answered."""
    timeout: float = Field(default=10.0, gt=0)
    """Seconds a call may take."""
    mix: tuple[Entry, ...] = Field(min_length=1)
    slo: Slo = Slo()
    """Of all calls together."""


def read_profile(file: Path) -> Profile:
    """The profile in a file.

    Raises:
        OperatorError: no such file, no YAML, or not a profile; names file, line, and what is allowed.
    """
    try:
        text = file.read_text(encoding="utf-8")
        root = yaml.compose(text, yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(f"{file}: cannot be read: {error}; bundled: {_bundled()}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise OperatorError(f"{file}{line}: not YAML: {getattr(error, 'problem', None) or error}") from error
    try:
        return Profile.model_validate(content)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        message = _sentence(problem["loc"], problem["type"], problem["msg"])
        raise OperatorError(f"{file}:{_line(root, problem['loc'])}: {message}") from error


def find_profile(name: str) -> Path:
    """A path, or the name of a bundled profile."""
    bundled = PROFILES / f"{name}.yaml"
    return bundled if bundled.is_file() else Path(name)


def entries(profile: Profile, tasks: Sequence[str], file: Path) -> list[tuple[str, Entry]]:
    """Each entry with the task it calls.

    Raises:
        OperatorError: an entry names a task that the server has not.
    """
    named = {entry.task for entry in profile.mix}
    if unknown := sorted(named - {EVERY, *tasks}):
        line = _line_of_task(file, unknown[0])
        raise OperatorError(
            f"{file}:{line}: no task {unknown[0]!r} at this server; it has: {', '.join(tasks)}, or '*' for each"
        )
    rest = [task for task in tasks if task not in named]
    return [(task, entry) for entry in profile.mix for task in (rest if entry.task == EVERY else [entry.task])]


def _bundled() -> str:
    return ", ".join(sorted(path.stem for path in PROFILES.glob("*.yaml")))


def _sentence(loc: tuple[int | str, ...], kind: str, message: str) -> str:
    where = ".".join(map(str, loc)) or "the file"
    if kind == "extra_forbidden":
        return f"{where}: no such field; allowed: {', '.join(_model_at(loc).model_fields)}"
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


def _line_of_task(file: Path, task: str) -> int:
    root = yaml.compose(file.read_text(encoding="utf-8"), yaml.SafeLoader)
    numbers = [number for number, entry in enumerate(read_profile(file).mix) if entry.task == task]
    return _line(root, ("mix", numbers[0], "task"))
