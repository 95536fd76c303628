"""Linear layers whose weights are laid out once as oneDNN multiplies them, not anew for each product.

For bf16 on CPUs. torch has the operations for its own compiler; without them every product of few tokens spends a third
of its time on the layout (measured: a step of 16 tokens 1.1 times as fast with them, of one token 1.3 times).
"""

import torch
from torch import Tensor, nn

_FEW = 1
"""Rows of the inputs that the layout is chosen for; that of more rows is no faster for few and slower for hundreds."""


class PackedLinear(nn.Module):
    """What a linear layer computes. It shares nothing with it, so that the original may go."""

    def __init__(self, plain: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ops.mkldnn._reorder_linear_weight(plain.weight.data, _FEW))
        self.register_buffer("bias", None if plain.bias is None else plain.bias.data.clone())

    def forward(self, inputs: Tensor) -> Tensor:
        """``[..., in]`` -> ``[..., out]``."""
        packed: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, self.weight, self.bias, "none", [], "")
        return packed


def pack_linears(model: nn.Module, head: nn.Module | None) -> None:
    """Replace the linear layers of a bf16 model on a CPU that has products of bf16; others stay as they are.

    Args:
        model: the model.
        head: what makes logits; it may share its weights with the embedding, so it stays.
    """
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return
    for path, module in list(model.named_modules()):
        if type(module) is nn.Linear and module is not head and module.weight.dtype == torch.bfloat16:
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, PackedLinear(module))
