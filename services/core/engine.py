"""What an engine is to the rest of the project: a small protocol per capability.

An engine runs one artefact on one kind of hardware. It knows tensors and batches; it does not know texts, labels,
requests, queues or protocols. ``run`` may be called from several threads at once (see `Batcher` lanes).
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from services.core.adapters import Adapter
from services.core.catalog import GenerationPolicy, Precision
from services.core.context import Priority
from services.core.generation.records import Generation, Progress

TokenIds = NDArray[np.int64]
Logits = NDArray[np.float32]


@dataclass(frozen=True)
class EngineOptions:
    """Hardware an engine may use.

    Args:
        lanes: runs at the same time.
        threads: threads inside one run. Several lanes of one thread beat one lane of many on a CPU.
        providers: onnxruntime execution providers, best first.
        precision: of the weights, for engines that bring them into it.
        context: most tokens of a sequence; 0 is as many as the model takes.
        generation: for generators.
        max_adapter_rank: of the adapters that a generator gets; 0 is none.
    """

    lanes: int = 1
    threads: int = 1
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    precision: Precision = Precision.FP32
    context: int = 0
    generation: GenerationPolicy = field(default_factory=GenerationPolicy)
    max_adapter_rank: int = 0


class Engine(Protocol):
    """What all engines share."""

    @classmethod
    def load(cls, artefact: Path, options: EngineOptions) -> Self:
        """Open the artefact in this folder; ready to run when it returns."""

    def close(self) -> None:
        """Free what the artefact holds. No run is under way, and none follows; closing again does nothing."""


@runtime_checkable
class Encoder(Engine, Protocol):
    """Token ids in, one row of logits per item out."""

    def run(self, batch: Sequence[TokenIds]) -> Logits:
        """``batch``: n arrays of token ids of any lengths. Returns float32 ``[n, labels]``."""


@dataclass(frozen=True, slots=True)
class Seq2SeqInput:
    """One sequence to transform.

    Args:
        source: ids as the encoder takes them: special tokens, language and end included.
        prefix: ids the decoder is given before it begins to choose (the target language); may be empty.
        max_tokens: most target tokens, prefix and end not counted; what is longer is cut.
    """

    source: tuple[int, ...]
    prefix: tuple[int, ...]
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Decoding:
    """How targets are searched for; the same for a whole run.

    Args:
        beam_size: hypotheses kept at each step; 1 is greedy.
        hypotheses: how many of them are returned, best first; at most ``beam_size``.
        no_repeat_ngram: no sequence of so many tokens occurs twice in a target; 0 is no such rule.
        attention: whether hypotheses say what they attended to.
    """

    beam_size: int = 1
    hypotheses: int = 1
    no_repeat_ngram: int = 0
    attention: bool = False


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One target.

    Args:
        tokens: its ids, without prefix and end.
        score: mean natural logarithm of its tokens' probabilities, end included; not positive.
        finished: whether it ended by itself; false if it was cut at ``max_tokens``.
        attention: float32 ``[tokens, source]``, rows of non-negative weights that add up to 1, mean over heads of a
            cross-attention layer; if asked for.
    """

    tokens: tuple[int, ...]
    score: float
    finished: bool
    attention: NDArray[np.float32] | None = None


@runtime_checkable
class Seq2Seq(Engine, Protocol):
    """Token sequences in, target sequences out."""

    def run(self, batch: Sequence[Seq2SeqInput], decoding: Decoding) -> Sequence[tuple[Hypothesis, ...]]:
        """For each input its hypotheses, best first. With a beam of 1, they do not depend on the company it keeps."""


@dataclass(frozen=True, slots=True)
class GeneratorLimits:
    """What a generator can hold.

    Args:
        context: most tokens of one sequence, prompt included.
        vocabulary: logits per token.
        sequences: most sequences in one step.
        blocks: blocks of its KV cache, all sequences together.
        block_tokens: tokens in a block.
    """

    context: int
    vocabulary: int
    sequences: int
    blocks: int
    block_tokens: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens of one sequence that a step computes.

    Args:
        sequence: its number, never used again for another.
        tokens: ids, at least one; one only once the prompt is behind.
        start: position of the first; all before it are in the cache.
        blocks: where the cache of the sequence is, in order; enough for these tokens too.
        adapter: on which it runs.
        ends: whether logits are wanted after the last token.
    """

    sequence: int
    tokens: Sequence[int]
    start: int
    blocks: Sequence[int]
    adapter: Adapter | None
    ends: bool


@runtime_checkable
class Generator(Engine, Protocol):
    """Token sequences continued one step at a time, many in a step; all calls come from one thread."""

    @property
    def limits(self) -> GeneratorLimits:
        """What it can hold."""

    def ready(self, adapter: Adapter) -> bool:
        """Whether chunks on this adapter can be computed now; if not, it is being loaded, or will be: ask again.

        Raises:
            ServingError: it cannot be loaded.
        """

    def step(self, chunks: Sequence[Chunk]) -> Logits:
        """Compute these tokens. Returns float32 ``[chunks that end, vocabulary]``, in their order, to be written to.

        A sequence's logits do not depend on the company it keeps, but for rounding.
        """

    def release(self, sequence: int) -> None:
        """Forget a sequence that gets no further chunk; it may have been in no step."""


@runtime_checkable
class SelfScheduled(Engine, Protocol):
    """Token sequences continued by an engine that plans its steps, keeps its cache and chooses tokens by itself.

    `generate` is called on one event loop, and must not hold it up; `close` and `load` are called elsewhere.
    """

    @property
    def limits(self) -> GeneratorLimits:
        """What it can hold."""

    @property
    def alive(self) -> bool:
        """Whether it can generate; false for ever once it is."""

    def generate(self, sequence: int, work: Generation, priority: Priority) -> AsyncGenerator[Progress]:
        """What comes of a sequence, until its last token; closing it stops the work and frees what it holds.

        Args:
            sequence: its number, never used again for another.
            work: what it is to become; its form stands for its constraint.
            priority: who goes first.

        Raises:
            ServingError: it cannot be generated, or no longer.
        """


AnyGenerator = Generator | SelfScheduled

_TELLING = (("limits", "ready", "step", "release"), ("limits", "generate"))
"""What only generators have, stepped or not."""


def generates(engine: type) -> bool:
    """Whether engines of this class are generators of either kind, told without loading one."""
    return any(all(hasattr(engine, name) for name in names) for names in _TELLING)


@runtime_checkable
class Echo(Engine, Protocol):
    """Payloads in, the same payloads out: what the serving path itself costs."""

    def run(self, batch: Sequence[Any]) -> Sequence[Any]:
        """Returns ``batch``."""
