"""Adapters side by side in one batch.

The matrices of the adapters in use are stacked: one product with all A, one with all B, and between them each token
keeps only the columns of its own adapter. Two thin products per layer cost the same for one adapter as for many, where
a product per adapter costs a CPU more in calls than in arithmetic (measured: see the card of `make bench-llm`).
Source: Hu et al. 2021, "LoRA"; the batching is that of Chen et al. 2023, "Punica", by a mask instead of a kernel.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional

from services.core.adapters import Adapter, damage, read_config
from services.core.errors import Code, ServingError
from services.engines.torch_lm.packing import PackedLinear

_PREFIX = "base_model.model."


@dataclass(frozen=True, slots=True)
class Matrices:
    """Of one adapter for one module: ``down`` ``[rank, in]``, ``up`` ``[rank, out]`` with the scaling in it."""

    down: Tensor
    up: Tensor


LoadedAdapter = Mapping[str, Matrices]
"""By path of the module."""


def read_adapter(adapter: Adapter, dtype: torch.dtype, device: torch.device) -> LoadedAdapter:
    """The matrices of an adapter in PEFT's format.

    Raises:
        ServingError: the files are not those that were checked.
    """
    if fault := damage(adapter):
        raise ServingError(Code.UNAVAILABLE, f"{fault}; load the adapter again.", "model")
    scaling = read_config(adapter.folder).scaling
    loaded: dict[str, Matrices] = {}
    with safe_open(adapter.folder / "adapter_model.safetensors", framework="pt") as file:
        for name in file.keys():  # noqa: SIM118  # it is no mapping
            path, found, _ = name.removeprefix(_PREFIX).partition(".lora_A.")
            if found:
                down = file.get_tensor(name)
                up = file.get_tensor(name.replace(".lora_A.", ".lora_B.")).float().t() * scaling
                loaded[path] = Matrices(*(one.contiguous().to(device, dtype) for one in (down, up)))
    return loaded


def bytes_of(loaded: LoadedAdapter) -> int:
    """Memory it takes."""
    return sum(one.nbytes for matrices in loaded.values() for one in (matrices.down, matrices.up))


class Mix:
    """Which columns of the stacked matrices each token of the step keeps; None while no adapter is in use."""

    kept: Tensor | None = None


class LoraLinear(nn.Module):
    """A linear layer with the adapters in use beside it."""

    def __init__(self, base: nn.Module, mix: Mix) -> None:
        super().__init__()
        self.base = base
        self._mix = mix
        self.down: Tensor | None = None
        self.up: Tensor | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """``[1, tokens, in]`` -> ``[1, tokens, out]``."""
        plain: Tensor = self.base(inputs)
        if self._mix.kept is None or self.down is None or self.up is None:
            return plain
        inner = functional.linear(inputs[0], self.down) * self._mix.kept
        return torch.addmm(plain[0], inner, self.up).unsqueeze(0)


class Stack:
    """The matrices of the adapters in use, in the modules of a model.

    Args:
        model: its linear layers are wrapped, but for the one that makes logits.
        columns: most columns that adapters which are not in use may still take.
    """

    def __init__(self, model: nn.Module, head: nn.Module | None, columns: int = 128) -> None:
        self._mix = Mix()
        self._modules = dict(_wrap(model, head, self._mix))
        self._columns = columns
        self._stacked: dict[str, tuple[int, LoadedAdapter]] = {}  # by digest, longest unused first: rank, matrices
        self._places: dict[str, slice] = {}  # by digest, which columns are whose since the last time of stacking

    def use(self, owners: Sequence[tuple[Adapter | None, int]], loaded: Mapping[str, LoadedAdapter]) -> None:
        """Get ready for a step of so many tokens of each of these, in this order."""
        used = {adapter.digest: adapter for adapter, _ in owners if adapter is not None}
        if not used:
            self._mix.kept = None
            return
        missing = used.keys() - self._stacked.keys()
        for digest, adapter in used.items():
            known = self._stacked.pop(digest) if digest in self._stacked else (adapter.rank, loaded[digest])
            self._stacked[digest] = known
        if missing:
            self._shed(used)
            self._restack()
        self._mix.kept = self._kept(owners)

    def _shed(self, used: Mapping[str, Adapter]) -> None:
        """Drop what is not in use, longest unused first, until it is narrow enough."""
        width = sum(rank for rank, _ in self._stacked.values())
        for digest in [digest for digest in self._stacked if digest not in used]:
            if width > self._columns:
                width -= self._stacked.pop(digest)[0]
                del self._places[digest]

    def _restack(self) -> None:
        first = 0
        for digest, (rank, _) in self._stacked.items():
            self._places[digest] = slice(first, first + rank)
            first += rank
        for path, module in self._modules.items():
            matrices = [(rank, loaded.get(path)) for rank, loaded in self._stacked.values()]
            have = next((one for _, one in matrices if one), None)
            module.down = (
                torch.cat(
                    [one.down if one else have.down.new_zeros(rank, have.down.shape[1]) for rank, one in matrices]
                )
                if have
                else None
            )
            module.up = (
                torch.cat([one.up if one else have.up.new_zeros(rank, have.up.shape[1]) for rank, one in matrices])
                if have
                else None
            )

    def _kept(self, owners: Sequence[tuple[Adapter | None, int]]) -> Tensor:
        """``[tokens, columns]``: ones where token and column are of the same adapter."""
        like = next(one.down for _, loaded in self._stacked.values() for one in loaded.values())
        width = sum(rank for rank, _ in self._stacked.values())
        kept = torch.zeros(sum(count for _, count in owners), width, dtype=like.dtype)
        row = 0
        for adapter, count in owners:
            if adapter is not None:
                kept[row : row + count, self._places[adapter.digest]] = 1
            row += count
        return kept.to(like.device)


def _wrap(model: nn.Module, head: nn.Module | None, mix: Mix) -> Iterator[tuple[str, LoraLinear]]:
    linears = [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear | PackedLinear) and module is not head
    ]
    for path, module in linears:
        parent, _, name = path.rpartition(".")
        wrapped = LoraLinear(module, mix)
        setattr(model.get_submodule(parent), name, wrapped)
        yield path, wrapped
