"""fp32 graph -> int8 graph: matrix products on integers, embedding tables as bytes.

Weights have one scale per output channel, embeddings one per row. Activations have one constant scale per product,
chosen on calibration inputs: so an item's answer does not depend on the batch it is in, which dynamic quantization
(one scale over the whole batch) cannot promise, and no pass over the activations is spent on finding their range.
Where a few channels are far larger than the rest, they are made smaller and their weights larger by the same factor
(SmoothQuant, arXiv:2211.10438), if that lowers the error of the product.

onnxruntime's own static quantizer also quantizes what products put out: on MiniLM-L6 that is slower by a quarter and
loses three times as many answers.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper

from models.export.onnx import SCOPES
from services.core.engine import TokenIds
from services.core.errors import OperatorError

Floats = NDArray[np.float32]


class QuantizeError(OperatorError):
    """The graph cannot be quantized as asked; nothing is published."""


_CLIPS = np.linspace(0.4, 1.0, 7)
"""Shares of the seen range that int8 may span: cutting off the rarest values can cost less than coarse steps."""

_SMOOTHINGS = (0.5, 0.7, 0.85)
"""How much of a channel's size is moved to the weights."""

_WORTH = 0.5
"""Smoothing costs a node in the graph; it must bring the error down to this share."""

_ROWS = 256
"""Activation rows on which a choice is judged."""

_TABLE_ROWS = 1024
"""Lookup tables shorter than this stay fp32: there is nothing to save."""


@dataclass(frozen=True)
class Product:
    """``input @ weight + bias`` in the graph."""

    node: NodeProto
    add: NodeProto | None
    bias: str
    weight: Floats

    @property
    def input(self) -> str:
        """Name of the activation."""
        return str(self.node.input[0])

    @property
    def output(self) -> str:
        """Name of the result, bias included."""
        return str((self.add or self.node).output[0])


@dataclass(frozen=True)
class Activation:
    """How an activation becomes uint8: ``round(x / smooth / scale) + zero_point``."""

    scale: np.float32
    zero_point: np.uint8
    smooth: Floats | None

    def rounded(self, rows: Floats) -> Floats:
        """``rows``, already smoothed, as int8 will see them."""
        levels = np.clip(np.round(rows / self.scale) + self.zero_point, 0, 255)
        return np.asarray((levels - self.zero_point) * self.scale, dtype=np.float32)


def quantize(source: Path, target: Path, inputs: Sequence[TokenIds], keep_fp32: Sequence[str] = ()) -> None:
    """Quantize ``source/model.onnx`` into ``target``; the other files of the artefact are copied.

    Args:
        source: fp32 artefact.
        target: folder to fill.
        inputs: token ids typical of what the model will see; they set the activations' ranges.
        keep_fp32: ends of module paths whose products stay fp32.

    Raises:
        QuantizeError: a name in ``keep_fp32`` is no module of the graph, or there are no inputs.
    """
    if not inputs:
        raise QuantizeError("quantizing needs calibration inputs; the gate's examples gave none")
    model = onnx.load(source / "model.onnx")
    products = _products(model.graph, keep_fp32)
    rows = _activations(model, list(dict.fromkeys(product.input for product in products)), inputs)
    _Rewriter(model).rewrite(products, rows)
    onnx.save(model, target / "model.onnx")
    for file in source.iterdir():
        if file.name not in ("model.onnx", "manifest.json"):
            shutil.copy(file, target / file.name)


def _products(graph: onnx.GraphProto, keep_fp32: Sequence[str]) -> list[Product]:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    found = [node for node in graph.node if node.op_type == "MatMul" and len(_dims(constants, node.input[1])) == 2]
    kept = [name for module in keep_fp32 for name in _names_in(found, module)]
    consumers = {name: [node for node in graph.node if name in node.input] for node in found for name in node.output}
    products = []
    for node in found:
        if node.output[0] not in kept:
            add, bias = _bias(consumers[node.output[0]], constants)
            weight = numpy_helper.to_array(constants[node.input[1]]).astype(np.float32)
            products.append(Product(node, add, bias, weight))
    return products


def _dims(constants: dict[str, onnx.TensorProto], name: str) -> Sequence[int]:
    return constants[name].dims if name in constants else ()


def _names_in(nodes: Sequence[NodeProto], module: str) -> list[str]:
    """Outputs of the products of a module."""
    found = [
        node.output[0]
        for node in nodes
        if any(entry.key == SCOPES and f"{module}'" in entry.value for entry in node.metadata_props)
    ]
    if not found:
        raise QuantizeError(f"keep_fp32: the graph has no module that ends in {module}")
    return found


def _bias(consumers: Sequence[NodeProto], constants: dict[str, onnx.TensorProto]) -> tuple[NodeProto | None, str]:
    """The addition of a constant vector right after a product, if that is all its result is used for."""
    if len(consumers) == 1 and consumers[0].op_type == "Add":
        for name in consumers[0].input:
            if len(_dims(constants, name)) == 1:
                return consumers[0], name
    return None, ""


def _activations(model: onnx.ModelProto, names: Sequence[str], inputs: Sequence[TokenIds]) -> dict[str, Floats]:
    """What flows into each product, one row per token of ``inputs``."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = ort.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"])
    seen: dict[str, list[Floats]] = {name: [] for name in names}
    for ids in inputs:
        feeds = {"input_ids": ids[None], "attention_mask": np.ones_like(ids)[None]}
        for name, value in zip(names, session.run(list(names), feeds), strict=True):
            seen[name].append(value.reshape(-1, value.shape[-1]))
    return {name: np.concatenate(values) for name, values in seen.items()}


def choose(rows: Floats, weight: Floats) -> Activation:
    """The scale of an activation with which a product suffers least.

    Args:
        rows: activations, ``float32 [n, c]``.
        weight: of all products they flow into, ``float32 [c, m]``.

    Raises:
        QuantizeError: there are activations that are not finite.
    """
    if not np.isfinite(rows).all():
        raise QuantizeError("a product's activations are not finite; the model is broken")
    some = rows[:: max(1, len(rows) // _ROWS)]
    exact = some @ weight
    best, least = Activation(np.float32(1), np.uint8(0), None), np.inf
    for smooth in (None, *_smoothings(rows, weight)):
        scaled = weight if smooth is None else weight * smooth[:, None]
        integers, scales = quantize_weight(scaled)
        smoothed = some if smooth is None else some / smooth
        for activation in _candidates(rows, smooth):
            error = float(np.square(activation.rounded(smoothed) @ (integers * scales) - exact).mean())
            if error < least * (_WORTH if best.smooth is None and smooth is not None else 1):
                best, least = activation, error
    return best


def _smoothings(rows: Floats, weight: Floats) -> Iterator[Floats]:
    widest, heaviest = np.abs(rows).max(axis=0).clip(1e-5), np.abs(weight).max(axis=1).clip(1e-5)
    for share in _SMOOTHINGS:
        smooth = widest**share / heaviest ** (1 - share)
        yield np.asarray(smooth / np.exp(np.log(smooth).mean()), dtype=np.float32)


def _candidates(rows: Floats, smooth: Floats | None) -> Iterator[Activation]:
    smoothed = rows if smooth is None else rows / smooth
    low, high = min(0.0, float(smoothed.min())), max(0.0, float(smoothed.max()))
    for clip in _CLIPS:
        scale = np.float32(max(clip * (high - low) / 255, 1e-12))
        yield Activation(scale, np.uint8(np.clip(round(-clip * low / float(scale)), 0, 255)), smooth)


def quantize_weight(weight: Floats) -> tuple[NDArray[np.int8], Floats]:
    """int8 values and a scale per column, of ``float32 [c, m]``."""
    scales = np.maximum(np.abs(weight).max(axis=0) / 127, 1e-12).astype(np.float32)
    return np.round(weight / scales).clip(-127, 127).astype(np.int8), scales


class _Rewriter:
    """Puts integer nodes in the place of float ones."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._graph = model.graph
        self._replaced: dict[str, list[NodeProto]] = {}

    def rewrite(self, products: Sequence[Product], rows: dict[str, Floats]) -> None:
        """Replace products and large lookups, and drop the constants nobody reads any more."""
        for name, seen in rows.items():
            self._replace_products(name, [product for product in products if product.input == name], seen)
        for node in self._graph.node:
            if node.op_type == "Gather":
                self._replace_lookup(node)
        nodes = [new for node in self._graph.node for new in self._replaced.get(node.output[0], [node])]
        used = {name for node in nodes for name in node.input}
        constants = [tensor for tensor in self._graph.initializer if tensor.name in used]
        del self._graph.node[:], self._graph.initializer[:]
        self._graph.node.extend(nodes)
        self._graph.initializer.extend(constants)
        self._model.opset_import.append(helper.make_opsetid("com.microsoft", 1))

    def _replace_products(self, name: str, group: Sequence[Product], rows: Floats) -> None:
        chosen = choose(rows, np.concatenate([product.weight for product in group], axis=1))
        scale, zero = self._constant(f"{name}_scale", chosen.scale), self._constant(f"{name}_zero", chosen.zero_point)
        before, smoothed = [], name
        if chosen.smooth is not None:
            factors = self._constant(f"{name}_smooth", (1 / chosen.smooth).astype(np.float32))
            smoothed = f"{name}_smoothed"
            before.append(helper.make_node("Mul", [name, factors], [smoothed]))
        before.append(helper.make_node("QuantizeLinear", [smoothed, scale, zero], [f"{name}_uint8"]))
        for product in group:
            self._replaced[product.node.output[0]] = [*before, self._product(product, chosen, scale, zero)]
            if product.add:
                self._replaced[product.output] = []
            before = []

    def _product(self, product: Product, chosen: Activation, scale: str, zero: str) -> NodeProto:
        weight = product.weight if chosen.smooth is None else product.weight * chosen.smooth[:, None]
        integers, scales = quantize_weight(weight)
        name = product.node.input[1]
        inputs = [
            f"{product.input}_uint8",
            self._constant(f"{name}_int8", integers),
            scale,
            self._constant(f"{name}_scales", scales),
            zero,
            "",
            product.bias,
        ]
        # onnxruntime's fused kernel: integer product, both scales and the bias in one pass.
        return helper.make_node("MatMulIntegerToFloat", inputs, [product.output], domain="com.microsoft")

    def _replace_lookup(self, node: NodeProto) -> None:
        table = next((tensor for tensor in self._graph.initializer if tensor.name == node.input[0]), None)
        if table is None or len(table.dims) != 2 or table.dims[0] < _TABLE_ROWS:
            return
        integers, scales = quantize_weight(numpy_helper.to_array(table).astype(np.float32).T)
        name, ids, out = node.input[0], node.input[1], node.output[0]
        rows = self._constant(f"{name}_int8", np.ascontiguousarray(integers.T))
        steps = self._constant(f"{name}_scales", scales[:, None])
        self._replaced[out] = [
            helper.make_node("Gather", [rows, ids], [f"{out}_bytes"]),
            helper.make_node("Gather", [steps, ids], [f"{out}_step"]),
            helper.make_node("Cast", [f"{out}_bytes"], [f"{out}_levels"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Mul", [f"{out}_levels", f"{out}_step"], [out]),
        ]

    def _constant(self, name: str, value: NDArray[np.generic] | np.generic) -> str:
        self._graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name
