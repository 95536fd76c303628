"""int8 matrices with a scale per row: a quarter of the size, so that weights can lie in git.

Symmetric, ``scale = absmax / 127``: the grid CTranslate2 quantizes to, so its int8 loses nothing more. Vectors and
scalars stay as they are.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = ".scale"


def pack(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices as int8 ``[rows, columns]`` plus ``<name>.scale``, float32 ``[rows]``; the rest as it is.

    Raises:
        ValueError: a matrix holds values that are not finite.
    """
    packed: dict[str, Tensor] = {}
    for name, weight in weights.items():
        if weight.ndim != 2:
            packed[name] = weight.contiguous()
            continue
        if not torch.isfinite(weight).all():
            raise ValueError(f"{name} holds values that are not finite")
        largest = weight.float().abs().amax(dim=1)
        scale = torch.where(largest > 0, largest, torch.ones_like(largest)) / 127
        packed[name] = (weight.float() / scale[:, None]).round().clamp(-127, 127).to(torch.int8)
        packed[name + SCALE] = scale
    return packed


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights, all float32."""
    return {
        name: weight.float() * packed[name + SCALE][:, None] if name + SCALE in packed else weight.float()
        for name, weight in packed.items()
        if not name.endswith(SCALE)
    }
