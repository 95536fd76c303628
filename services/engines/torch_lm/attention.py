"""The KV cache in blocks, and attention over it: what transformers' models call instead of their own.

All tokens of a step are one row, whatever sequences they are of; attention is the only place where that matters.
Idea: Kwon et al. 2023, "Efficient Memory Management for Large Language Model Serving with PagedAttention".
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface

from services.core.engine import Chunk

NAME = "chorale_paged"

_UNKNOWN = ("softcap", "s_aux")
"""Arguments of attention that change it, and that are not computed here."""

_LARGEST = 1e4
"""Far more than keys and values of any working model."""


@dataclass(slots=True)
class Layer:
    """Keys and values of one layer: ``[rows, heads * size]``, a row per token, ``block_tokens`` rows per block.

    The last block is nobody's and zero: shorter sequences' tables are filled up with it.
    """

    keys: Tensor
    values: Tensor


class Scratch:
    """Memory that is written anew by each gathering: to get fresh memory costs more than to write it."""

    def __init__(self) -> None:
        self._buffers: dict[str, Tensor] = {}

    def gather(self, name: str, rows: Tensor, index: Tensor) -> Tensor:
        """``rows[index]``, until the next gathering of this name."""
        needed = len(index) * rows.shape[1]
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < needed:
            buffer = self._buffers[name] = torch.empty(2 * needed, dtype=rows.dtype, device=rows.device)
        return torch.index_select(rows, 0, index, out=buffer[:needed].view(len(index), rows.shape[1]))


@dataclass(frozen=True, slots=True)
class Prompt:
    """A chunk of several tokens: those from ``begin`` to ``end`` of the step, which follow ``start`` others."""

    begin: int
    end: int
    start: int
    rows: Tensor


@dataclass(slots=True)
class Step:
    """Where a step's tokens are: first those of sequences that have one, then the prompts'.

    Args:
        layers: the cache.
        scratch: for what is gathered from it.
        block_tokens: rows per block.
        write: row of each token.
        tables: ``[sequences * blocks]``, the blocks of the sequences that have one token, padded.
        lengths: ``[sequences]``, tokens of each, the new one included.
        prompts: the other chunks.
    """

    layers: list[Layer]
    scratch: Scratch
    block_tokens: int
    write: Tensor
    tables: Tensor
    lengths: Tensor
    prompts: Sequence[Prompt]
    _masks: dict[int | None, Tensor] = field(default_factory=dict)

    def mask(self, window: int | None) -> Tensor:
        """``[sequences, 1, 1, positions]``: what each new token may look at."""
        if window not in self._masks:
            singles = len(self.lengths)
            width = len(self.tables) // singles * self.block_tokens
            places = torch.arange(width, device=self.write.device)
            seen = places < self.lengths[:, None]
            if window is not None:
                seen &= places >= (self.lengths - window)[:, None]
            self._masks[window] = seen[:, None, None, :]
        return self._masks[window]


def attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _attention_mask: Tensor | None,  # made for other layouts; ours follow from the step
    scaling: float | None = None,
    sliding_window: int | None = None,
    *,
    paged: "Step | Shapes",
    **others: object,
) -> tuple[Tensor, None]:
    """Attention of one layer. Shapes as transformers has them: ``[1, heads, tokens, size]``.

    Returns ``[1, tokens, heads, size]``.

    Raises:
        ValueError: the model's attention has something to it that is not computed here.
    """
    if unknown := [name for name in _UNKNOWN if others.get(name) is not None]:
        raise ValueError(f"attention with {', '.join(unknown)} is not supported")
    number: int = module.layer_idx  # type: ignore[assignment]
    if isinstance(paged, Shapes):
        paged.see(number, key, value)
        return functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scaling, enable_gqa=True
        ).transpose(1, 2), None
    layer = paged.layers[number]
    layer.keys.index_copy_(0, paged.write, _harmless(key))
    layer.values.index_copy_(0, paged.write, _harmless(value))
    heads = key.shape[1]
    done = [_prompt(query, layer, heads, prompt, paged.scratch, scaling, sliding_window) for prompt in paged.prompts]
    if singles := len(paged.lengths):
        done.insert(0, _singles(query[0, :, :singles], layer, heads, paged, scaling, sliding_window))
    return (done[0] if len(done) == 1 else torch.cat(done)).unsqueeze(0), None


def _harmless(states: Tensor) -> Tensor:
    """As rows, without what would spoil other sequences: masked keys and values count nothing, but 0 * NaN is NaN."""
    return states[0].transpose(0, 1).flatten(1).nan_to_num(0.0, _LARGEST, -_LARGEST).clamp_(-_LARGEST, _LARGEST)


def _singles(query: Tensor, layer: Layer, heads: int, paged: Step, scaling: float | None, window: int | None) -> Tensor:
    """One new token for each of several sequences, over all that is in their blocks: ``[sequences, heads, size]``."""
    singles = len(paged.lengths)

    def gathered(name: str, rows: Tensor) -> Tensor:
        blocks = paged.scratch.gather(name, rows.view(-1, paged.block_tokens * rows.shape[1]), paged.tables)
        return blocks.view(singles, -1, heads, rows.shape[1] // heads).transpose(1, 2)

    return functional.scaled_dot_product_attention(
        query.transpose(0, 1).unsqueeze(2),
        gathered("keys", layer.keys),
        gathered("values", layer.values),
        attn_mask=paged.mask(window),
        scale=scaling,
        enable_gqa=query.shape[0] != heads,
    ).squeeze(2)


def _prompt(
    query: Tensor, layer: Layer, heads: int, prompt: Prompt, scratch: Scratch, scaling: float | None, window: int | None
) -> Tensor:
    """Several new tokens of one sequence, over those before them: ``[tokens, heads, size]``."""

    def gathered(name: str, rows: Tensor) -> Tensor:
        return scratch.gather(name, rows, prompt.rows).view(1, len(prompt.rows), heads, -1).transpose(1, 2)

    plain = not prompt.start and window is None
    return functional.scaled_dot_product_attention(
        query[:, :, prompt.begin : prompt.end],
        gathered("keys", layer.keys),
        gathered("values", layer.values),
        attn_mask=None if plain else _causal(prompt, window),
        is_causal=plain,
        scale=scaling,
        enable_gqa=query.shape[1] != heads,
    )[0].transpose(0, 1)


def _causal(prompt: Prompt, window: int | None) -> Tensor:
    places = torch.arange(len(prompt.rows), device=prompt.rows.device)
    own = places[prompt.start :, None]
    seen = places <= own
    if window is not None:
        seen &= places > own - window
    return seen


class Shapes:
    """Sees what keys and values a model makes, in a forward pass without a cache."""

    def __init__(self) -> None:
        self._widths: dict[int, tuple[int, int]] = {}

    def see(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Note heads * size."""
        self._widths[layer] = (key.shape[1] * key.shape[3], value.shape[1] * value.shape[3])

    @property
    def row_numbers(self) -> int:
        """Numbers in the cache per token, all layers together."""
        return sum(map(sum, self._widths.values()))

    def layers(self, rows: int, dtype: torch.dtype, device: torch.device) -> list[Layer]:
        """An empty cache."""
        return [
            Layer(*(torch.zeros(rows, width, dtype=dtype, device=device) for width in self._widths[number]))
            for number in sorted(self._widths)
        ]


def arrange(
    chunks: Sequence[Chunk], layers: list[Layer], scratch: Scratch, block_tokens: int, device: torch.device
) -> Step:
    """The step of these chunks: those of one token first."""
    singles = [chunk for chunk in chunks if len(chunk.tokens) == 1]
    prompts: list[Prompt] = []
    write = [_rows(chunk, block_tokens, chunk.start, chunk.start + 1) for chunk in singles]
    begin = len(singles)
    for chunk in (chunk for chunk in chunks if len(chunk.tokens) > 1):
        end = chunk.start + len(chunk.tokens)
        rows = _rows(chunk, block_tokens, 0, end)
        prompts.append(Prompt(begin, begin + len(chunk.tokens), chunk.start, rows.to(device)))
        write.append(rows[chunk.start :])
        begin = prompts[-1].end
    needed = [-(-(chunk.start + 1) // block_tokens) for chunk in singles]
    width = max(needed, default=0)
    empty = len(layers[0].keys) // block_tokens - 1
    tables = [[*chunk.blocks[:count], *[empty] * (width - count)] for chunk, count in zip(singles, needed, strict=True)]
    return Step(
        layers=layers,
        scratch=scratch,
        block_tokens=block_tokens,
        write=torch.cat(write).to(device),
        tables=torch.tensor(tables, dtype=torch.long, device=device).flatten(),
        lengths=torch.tensor([chunk.start + 1 for chunk in singles], device=device),
        prompts=prompts,
    )


def _rows(chunk: Chunk, block_tokens: int, start: int, end: int) -> Tensor:
    """Rows of a sequence's tokens from ``start`` to ``end``."""
    places = torch.arange(start, end)
    blocks = torch.tensor(chunk.blocks)
    return blocks[places // block_tokens] * block_tokens + places % block_tokens


AttentionInterface.register(NAME, attend)
