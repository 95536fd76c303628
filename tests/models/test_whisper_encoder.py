"""The encoder of a converted Whisper as a graph: what is read of ``model.bin``, and when there is no graph."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.export import ExportError
from models.export.whisper import encoder, variables
from services.core.catalog import Precision
from services.core.engine import EngineOptions
from services.core.speech import Recognition, Utterance
from services.engines.whisper import WhisperRecognizer
from tests.whispers import clips, export, write_converted, write_transformers

GREEDY = Recognition(language="en", temperature=0.0)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_transformers(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def exact(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_converted(tmp_path_factory.mktemp("converted") / "c", checkpoint, "float32")


@pytest.mark.parametrize(
    ("form", "most"), [("float16", 1e-3), ("bfloat16", 1e-2), ("int8", 2e-2), ("int8_float16", 2e-2), ("int16", 1e-3)]
)
def test_values_are_read_from_all_types(tmp_path: Path, checkpoint: Path, exact: Path, form: str, most: float) -> None:
    expected = variables.read_variables(exact / "model.bin", "encoder")
    found = variables.read_variables(write_converted(tmp_path / "c", checkpoint, form) / "model.bin", "encoder")
    assert "layer_1/ffn/linear_1/bias" in expected
    for name, values in expected.items():
        assert found[name].shape == values.shape
        assert np.abs(found[name] - values).max() <= most * max(1, np.abs(values).max()), name


@pytest.mark.parametrize("kept", [0, 3, 40, 5000])
def test_a_cut_file_is_no_model(tmp_path: Path, exact: Path, kept: int) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes((exact / "model.bin").read_bytes()[:kept])
    with pytest.raises(ExportError, match="is no model of CTranslate2's"):
        variables.read_variables(file, "encoder")


@pytest.mark.parametrize(
    ("shape", "scales", "said"), [((4, 8), 3, "reshape|broadcast"), ((4, 7), 4, "reshape"), ((4, 8), 0, "broadcast")]
)
def test_numbers_that_do_not_fit_are_told(tmp_path: Path, shape: tuple[int, int], scales: int, said: str) -> None:
    def variable(name: str, dims: tuple[int, ...], kind: int, data: bytes) -> bytes:
        text = struct.pack("<H", len(name) + 1) + name.encode() + b"\0"
        return text + struct.pack(f"<B{len(dims)}IBI", len(dims), *dims, kind, len(data)) + data

    whole = struct.pack("<IH", 6, 2) + b"x\0" + struct.pack("<II", 1, 2)
    whole += variable("encoder/w", shape, 1, bytes(32))
    whole += variable("encoder/w_scale", (scales,), 0, np.ones(scales, "<f4").tobytes()) + struct.pack("<I", 0)
    (tmp_path / "model.bin").write_bytes(whole)
    with pytest.raises(ExportError, match=said):
        variables.read_variables(tmp_path / "model.bin", "encoder")


def test_a_row_of_nothing_stays_nothing() -> None:
    weight = np.array([[0.0, 0.0], [1.0, -2.0]], np.float32)
    numbers, scales = encoder.quantized(weight)
    assert numbers.tolist() == [[0, 0], [64, -127]]
    assert np.isfinite(scales).all()


def test_another_version_is_told(tmp_path: Path, exact: Path) -> None:
    file = tmp_path / "model.bin"
    file.write_bytes(b"\x05" + (exact / "model.bin").read_bytes()[1:])
    with pytest.raises(ExportError, match="its version is 5, not 6"):
        variables.read_variables(file, "encoder")


def test_another_network_is_not_kept(tmp_path: Path, exact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_a_layer(file: Path, part: str) -> dict[str, Any]:
        found = variables.read_variables(file, part)
        return {name: values for name, values in found.items() if not name.startswith("layer_1/")}

    monkeypatch.setattr(encoder, "read_variables", without_a_layer)
    for precision in (Precision.FP32, Precision.INT8):
        with pytest.raises(ExportError, match=r"differs from CTranslate2 by \d.*; the limit is"):
            encoder.write_encoder(exact, precision, tmp_path / "encoder.onnx")
        assert not (tmp_path / "encoder.onnx").exists()


def test_what_is_no_whisper_is_told(tmp_path: Path, exact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "read_variables", lambda *_: {"layer_norm/gamma": np.ones(4, np.float32)})
    with pytest.raises(ExportError, match="is no Whisper: it lacks encoder/conv1/weight"):
        encoder.write_encoder(exact, Precision.FP32, tmp_path / "encoder.onnx")


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
def test_the_graph_is_near_ctranslate2(tmp_path: Path, exact: Path, precision: Precision) -> None:
    report = encoder.write_encoder(exact, precision, tmp_path / "encoder.onnx")
    assert report["parity_error"] < {Precision.FP32: 1e-4, Precision.INT8: 0.1}[precision]


def test_without_a_graph_ctranslate2_hears_the_same(
    tmp_path: Path, exact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_graph = export(tmp_path / "a", exact)
    monkeypatch.setattr(encoder, "_LARGEST", 1)
    without = export(tmp_path / "b", exact)
    assert [(folder / "encoder.onnx").exists() for folder in (with_graph, without)] == [True, False]
    engines = [WhisperRecognizer.load(folder, EngineOptions(context=64)) for folder in (with_graph, without)]
    batch = [Utterance(samples, GREEDY) for samples in clips(30.0, 3.0)]
    found = [engine.run(batch) for engine in engines]
    assert [one.text for one in found[0]] == [one.text for one in found[1]]
    assert all(one.text for one in found[0])
