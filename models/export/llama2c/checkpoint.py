"""A checkpoint of llama2.c, version 0 -> a Llama of transformers.

The file: seven 32-bit integers (`Header`), then float32 tensors, each kind for all layers together.
"""

from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from models.export import ExportError

Floats = NDArray[np.float32]


class Header(NamedTuple):
    """Sizes; a negative vocabulary says that the classifier is not shared with the embeddings."""

    width: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    context: int

    @property
    def head(self) -> int:
        """Width of a head."""
        return self.width // self.heads

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The tensors, in the order of the file."""
        n, width, hidden, kv = self.layers, self.width, self.hidden, self.kv_heads * self.head
        rows = abs(self.vocabulary)
        shapes: dict[str, tuple[int, ...]] = {
            "model.embed_tokens": (rows, width),
            "input_layernorm": (n, width),
            "self_attn.q_proj": (n, width, width),
            "self_attn.k_proj": (n, kv, width),
            "self_attn.v_proj": (n, kv, width),
            "self_attn.o_proj": (n, width, width),
            "post_attention_layernorm": (n, width),
            "mlp.gate_proj": (n, hidden, width),
            "mlp.down_proj": (n, width, hidden),
            "mlp.up_proj": (n, hidden, width),
            "model.norm": (width,),
            "cos": (self.context, self.head // 2),
            "sin": (self.context, self.head // 2),
        }
        return shapes if self.vocabulary > 0 else shapes | {"lm_head": (rows, width)}


def read_network(file: Path) -> LlamaForCausalLM:
    """The network of a checkpoint.

    Raises:
        ExportError: the file is not as long as its header says, or the header makes no sense.
    """
    header, tensors = read_tensors(file)
    network = LlamaForCausalLM(_config(header))
    weights = _named(header, tensors)
    if header.vocabulary > 0:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    network.load_state_dict(weights)
    return network


def read_tensors(file: Path) -> tuple[Header, dict[str, Floats]]:
    """The header, and the tensors by the names `Header.shapes` gives them.

    Raises:
        ExportError: as above.
    """
    numbers = np.fromfile(file, dtype="<i4", count=len(Header._fields))
    header = Header(*map(int, numbers)) if len(numbers) == len(Header._fields) else Header(*[0] * 7)
    if not _is_sound(header):
        raise ExportError(f"{file} is not a version 0 checkpoint of llama2.c: its header is {list(map(int, numbers))}")
    shapes = header.shapes()
    if file.stat().st_size != numbers.nbytes + 4 * sum(map(prod, shapes.values())):
        raise ExportError(f"{file} is not a whole checkpoint of llama2.c: its length is not what its header says")
    values = np.fromfile(file, dtype="<f4", offset=numbers.nbytes)
    parts = np.split(values, np.cumsum([prod(shape) for shape in shapes.values()])[:-1])
    return header, {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def _is_sound(header: Header) -> bool:
    return (
        min(*header[:5], abs(header.vocabulary), header.context) > 0
        and header.width % header.heads == 0
        and header.heads % header.kv_heads == 0
        and header.head % 2 == 0
    )


def _config(header: Header) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=abs(header.vocabulary),
        hidden_size=header.width,
        intermediate_size=header.hidden,
        num_hidden_layers=header.layers,
        num_attention_heads=header.heads,
        num_key_value_heads=header.kv_heads,
        max_position_embeddings=header.context,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=header.vocabulary > 0,
        bos_token_id=1,
        eos_token_id=2,
    )


def _named(header: Header, tensors: dict[str, Floats]) -> dict[str, Tensor]:
    """By the names of transformers, each layer's own."""
    weights: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name in ("model.embed_tokens", "model.norm", "lm_head"):
            weights[f"{name}.weight"] = torch.from_numpy(tensor)
        elif name not in ("cos", "sin"):  # transformers computes them anew
            for layer, part in enumerate(torch.from_numpy(tensor)):
                turned = name.endswith(("q_proj", "k_proj"))
                weights[f"model.layers.{layer}.{name}.weight"] = _halved(part, header.head) if turned else part
    return weights


def _halved(weight: Tensor, head: int) -> Tensor:
    """Rows in the order that transformers turns: llama2.c turns neighbours, transformers a half against the other."""
    return weight.view(-1, head // 2, 2, weight.shape[1]).transpose(1, 2).reshape(weight.shape)
