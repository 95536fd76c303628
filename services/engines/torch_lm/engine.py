"""Steps of a causal language model: tokens of many sequences in one forward pass, each on its own adapter."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import torch

from services.core.adapters import Adapter
from services.core.engine import Chunk, EngineOptions, GeneratorLimits, Logits
from services.engines.torch_lm.adapter_cache import AdapterCache
from services.engines.torch_lm.attention import Scratch, Shapes, arrange
from services.engines.torch_lm.loading import load_model
from services.engines.torch_lm.lora import Stack

_MIB = 1024 * 1024


class TorchGenerator:
    """One model with its cache and adapters. `Generator`: all calls after `load` come from one thread."""

    def __init__(self, model: Any, options: EngineOptions) -> None:
        generation = options.generation
        self._model = model
        self._threads = options.lanes * options.threads
        self._device = next(model.parameters()).device
        self._block_tokens = generation.block_tokens
        shapes = Shapes()
        with torch.inference_mode():
            first = self._forward([0], [0], [0], paged=shapes)
        dtype = first.dtype
        per_block = shapes.row_numbers * dtype.itemsize * self._block_tokens
        blocks = max(1, generation.cache_mib * _MIB // per_block)
        self._layers = shapes.layers((blocks + 1) * self._block_tokens, dtype, self._device)
        self._scratch = Scratch()
        self._stack = Stack(model, model.get_output_embeddings())
        self._adapters = AdapterCache(generation.adapters_mib * _MIB, dtype, self._device)
        self._users: dict[int, str] = {}  # sequence -> digest of its adapter
        self._promised: set[str] = set()  # digests of those that were said to be ready, since the last step
        self._limits = GeneratorLimits(
            context=min(
                model.config.max_position_embeddings,
                blocks * self._block_tokens,
                options.context or model.config.max_position_embeddings,
            ),
            vocabulary=first.shape[-1],
            sequences=generation.sequences,
            blocks=blocks,
            block_tokens=self._block_tokens,
        )

    @classmethod
    def load(cls, artefact: Path, options: EngineOptions) -> Self:
        """Open the Hugging Face folder of an artefact."""
        device = torch.device("cuda" if options.providers[0].startswith("CUDA") else "cpu")
        # On a thread that ends: OpenMP keeps a pool for each thread that computed, and once all pools together are
        # larger than the machine their workers sleep between any two products (measured: 1.4 times as long a step).
        with ThreadPoolExecutor(1, thread_name_prefix="loader") as loader:
            return loader.submit(lambda: cls(load_model(artefact, options.precision, device), options)).result()

    @property
    def limits(self) -> GeneratorLimits:
        """What it can hold."""
        return self._limits

    def ready(self, adapter: Adapter) -> bool:
        """Whether the adapter is loaded; if not, a thread of its own is at it."""
        if not self._adapters.ready(adapter, in_use={*self._users.values(), *self._promised}):
            return False
        self._promised.add(adapter.digest)
        return True

    def running(self, digest: str) -> int:
        """Sequences on this adapter."""
        return sum(used == digest for used in list(self._users.values()))

    def step(self, chunks: Sequence[Chunk]) -> Logits:
        """One forward pass."""
        if torch.get_num_threads() != self._threads:  # other engines of this process set it, thread by thread
            torch.set_num_threads(self._threads)
        ordered = sorted(chunks, key=lambda chunk: len(chunk.tokens) > 1)  # those of one token first, else as they are
        for chunk in chunks:
            if chunk.adapter is not None:
                self._users[chunk.sequence] = chunk.adapter.digest
        self._promised.clear()
        with torch.inference_mode():
            self._stack.use([(chunk.adapter, len(chunk.tokens)) for chunk in ordered], self._adapters.loaded)
            logits = self._forward(
                [token for chunk in ordered for token in chunk.tokens],
                [chunk.start + place for chunk in ordered for place in range(len(chunk.tokens))],
                _last(ordered),
                paged=arrange(ordered, self._layers, self._scratch, self._block_tokens, self._device),
            )
            rows: Logits = logits.float().cpu().numpy()
        return rows if ordered == list(chunks) else rows[_back(chunks, ordered)]

    def release(self, sequence: int) -> None:
        """Forget who used an adapter; blocks are the scheduler's."""
        self._users.pop(sequence, None)

    def close(self) -> None:
        """Drop the model."""
        self._model = None
        self._layers = []
        self._adapters.close()

    def _forward(self, tokens: Sequence[int], places: Sequence[int], last: Sequence[int], paged: Any) -> torch.Tensor:
        """Logits after the tokens at ``last``: ``[last, vocabulary]``."""
        logits: torch.Tensor = self._model(
            input_ids=torch.tensor([tokens], device=self._device),
            position_ids=torch.tensor([places], device=self._device),
            use_cache=False,
            logits_to_keep=torch.tensor(last, dtype=torch.long, device=self._device),
            paged=paged,
        ).logits
        return logits[0]


def _last(chunks: Iterable[Chunk]) -> list[int]:
    """Where the last token is of each chunk that ends."""
    last, end = [], 0
    for chunk in chunks:
        end += len(chunk.tokens)
        if chunk.ends:
            last.append(end - 1)
    return last


def _back(chunks: Sequence[Chunk], ordered: Sequence[Chunk]) -> list[int]:
    """For each chunk that ends, the row of its logits."""
    rows = {chunk.sequence: row for row, chunk in enumerate(chunk for chunk in ordered if chunk.ends)}
    return [rows[chunk.sequence] for chunk in chunks if chunk.ends]
