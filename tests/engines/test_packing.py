"""Packed linear layers compute what plain ones do."""

import pytest
import torch

from services.engines.torch_lm.packing import PackedLinear, pack_linears

needs_bf16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    reason="this CPU has no products of bf16",
)


def _model(dtype: torch.dtype) -> torch.nn.Sequential:
    torch.manual_seed(0)
    layers = torch.nn.Linear(48, 80), torch.nn.SiLU(), torch.nn.Linear(80, 33, bias=False), torch.nn.Linear(33, 16)
    return torch.nn.Sequential(*layers).to(dtype)


@needs_bf16
@pytest.mark.parametrize("tokens", [1, 3, 16, 130])
def test_packed_layers_compute_what_plain_ones_do(tokens: int) -> None:
    """With and without a bias, one row and many."""
    plain, packed = _model(torch.bfloat16), _model(torch.bfloat16)
    pack_linears(packed, packed[3])
    assert [type(layer) for layer in packed] == [PackedLinear, torch.nn.SiLU, PackedLinear, torch.nn.Linear]
    inputs = torch.randn(1, tokens, 48, dtype=torch.bfloat16)
    with torch.inference_mode():
        assert torch.allclose(packed(inputs).float(), plain(inputs).float(), rtol=0.02, atol=0.02)


@needs_bf16
def test_nothing_is_kept_twice() -> None:
    """No plain weights stay behind."""
    packed = _model(torch.bfloat16)
    pack_linears(packed, None)
    assert not [name for name, _ in packed.named_parameters()]


def test_other_precisions_stay_as_they_are() -> None:
    """fp32 is what everything is compared with."""
    model = _model(torch.float32)
    pack_linears(model, None)
    assert not any(isinstance(layer, PackedLinear) for layer in model)
