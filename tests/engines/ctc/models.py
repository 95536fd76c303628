"""A small language model, and a network whose logits are its waveform."""

import gzip
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from services.core.audio import Samples
from services.engines.ctc.format import CtcFormat

BIGRAMS = r"""
\data\
ngram 1=5
ngram 2=3

\1-grams:
-1.0	<unk>
-99	<s>	-0.5
-0.9	</s>
-0.6	AB	-0.2
-0.8	ba	-0.1

\2-grams:
-0.3	<s> AB
-0.1	AB ba
-0.4	ba </s>

\end\
"""


def write_bigrams(folder: Path, text: str = BIGRAMS) -> Path:
    """As a gzipped file."""
    file = folder / "lm.arpa.gz"
    file.write_bytes(gzip.compress(text.encode()))
    return file


def spelling(letters: str, **fields: object) -> CtcFormat:
    """Tokens: blank, delimiter, and one for each letter; a frame of `save_network` is as many samples."""
    tokens = ("<pad>", "|", *letters)
    settings = {"blank": 0, "delimiter": 1, "frame_seconds": len(tokens) / 16_000, "languages": ("en",), **fields}
    return CtcFormat.model_validate({"tokens": tokens, "fewest_samples": len(tokens), **settings})


def save_network(folder: Path, form: CtcFormat, *, masked: bool = False) -> Path:
    """An artefact whose network cuts the waveform into frames, and takes the samples of each for its logits."""
    form.save(folder)
    tokens = len(form.tokens)
    constants = {"one": np.array([1]), "cut": np.eye(tokens, dtype=np.float32)[:, None]}
    given = [helper.make_tensor_value_info("input_values", TensorProto.FLOAT, ["b", "n"])]
    nodes = [
        helper.make_node("Unsqueeze", ["values" if masked else "input_values", "one"], ["channel"]),
        helper.make_node("Conv", ["channel", "cut"], ["columns"], strides=[tokens]),
        helper.make_node("Transpose", ["columns"], ["logits"], perm=[0, 2, 1]),
    ]
    if masked:
        given.append(helper.make_tensor_value_info("attention_mask", TensorProto.INT32, ["b", "n"]))
        nodes.insert(0, helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT))
        nodes.insert(1, helper.make_node("Mul", ["input_values", "mask"], ["values"]))
    written = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", "f", tokens])]
    kept = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "frames", given, written, kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.save(model, folder / "model.onnx")
    return folder


def says(form: CtcFormat, frames: str, sureness: float = 9.0) -> Samples:
    """A waveform in which this is heard, a token a frame; ``-`` is the blank."""
    logits = np.zeros((len(frames), len(form.tokens)), dtype=np.float32)
    for row, letter in zip(logits, frames, strict=True):
        row[form.blank if letter == "-" else form.tokens.index(letter)] = sureness
    return logits.ravel()
