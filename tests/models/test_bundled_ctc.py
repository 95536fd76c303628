"""The network that spots words, and its export, with its trunk, into an artefact of the ``ctc`` engine."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.export import ExportError, exporter
from models.export.bundled_ctc.checkpoint import Settings, load, save
from models.export.bundled_ctc.network import Network, NetworkSizes
from models.export.bundled_ctc.trunk import WIDTH, open_trunk
from models.sources import WEIGHTS, fetch
from services.core.catalog import ModelSpec, Source
from services.core.engine import EngineOptions
from services.core.speech import Utterance
from services.engines.ctc.engine import CtcRecognizer

pytestmark = pytest.mark.filterwarnings("default")

SIZES = NetworkSizes(inputs=WIDTH, tokens=4, width=24, kernel=5, blocks=1)
SETTINGS = Settings(sizes=SIZES, tokens=("<blank>", "yes", "no", "on"), languages=("en",), seconds=10)
SPEC = ModelSpec(task="asr", name="spotter", description="", engine="ctc", architecture="bundled-ctc", licence="MIT")
TRUNK = Source(uri="pypi:moonshine-voice/moonshine_voice/assets/tiny-en")


def network() -> Network:
    torch.manual_seed(0)
    return Network(SIZES).eval()


def noise(samples: int) -> np.ndarray:
    """Bursts, so that there is something to tell apart."""
    loudness = 0.06 * (1.05 + np.sin(np.arange(samples) / 2500))
    return (np.random.default_rng(0).normal(size=samples) * loudness).astype(np.float32)


def export(weights: Path, target: Path) -> float:
    sources = {"trunk": fetch(TRUNK), "weights": weights, "vad": WEIGHTS / "silero-vad"}
    return exporter("bundled-ctc")(SPEC, sources, target)["parity_error"]


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, target = tmp_path_factory.mktemp("weights"), tmp_path_factory.mktemp("artefact")
    save(network(), SETTINGS, folder)
    assert export(folder, target) < 1e-3
    return target


def test_the_artefact_is_what_the_engine_reads(artefact: Path) -> None:
    assert {path.name for path in artefact.iterdir()} == {"model.onnx", "ctc.json", "vad.onnx"}
    assert (artefact / "model.onnx").stat().st_size < 10_000_000
    recognizer = CtcRecognizer.load(artefact, EngineOptions())
    lengths = (16_000, 1, 894, 895, 896, 9_999)
    heard = recognizer.run([Utterance(noise(length)) for length in lengths])
    alone = [recognizer.run([Utterance(noise(length))])[0] for length in lengths]
    assert heard == alone
    recognizer.run([Utterance(np.zeros(5000, np.float32))])
    recognizer.close()


def test_the_export_is_the_same_each_time(artefact: Path, tmp_path: Path) -> None:
    save(network(), SETTINGS, tmp_path)
    export(tmp_path, tmp_path)
    for name in ("model.onnx", "ctc.json"):
        assert (artefact / name).read_bytes() == (tmp_path / name).read_bytes()


@pytest.mark.parametrize("damage", ["weights", "config", "tokens", "sizes"])
def test_files_that_are_not_one_networks_are_refused(damage: str, tmp_path: Path) -> None:
    save(network(), SETTINGS, tmp_path)
    config = tmp_path / "config.json"
    if damage == "weights":
        (tmp_path / "model.safetensors").write_bytes(b"none")
    else:
        text = {"config": "[", "tokens": '"yes","no"', "sizes": '"width": 32'}[damage]
        found = {"config": "{", "tokens": '"yes"', "sizes": '"width": 24'}[damage]
        config.write_text(config.read_text().replace(found, text, 1))
    with pytest.raises(ExportError, match="are not one network's"):
        load(tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"none"])
def test_another_trunk_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "encoder_model.ort").write_bytes(content)
    with pytest.raises(ExportError, match=r"encoder_model\.ort cannot be opened"):
        open_trunk(tmp_path)


@pytest.mark.parametrize("decibels", [-30, -12, 6])
def test_loudness_hardly_matters(artefact: Path, decibels: float) -> None:
    import onnxruntime as ort

    session = ort.InferenceSession(str(artefact / "model.onnx"), providers=["CPUExecutionProvider"])
    wave = noise(9000)[None]
    louder = wave * np.float32(10 ** (decibels / 20))
    expected, found = (session.run(None, {"input_values": x})[0] for x in (wave, louder))
    assert np.abs(expected - found).mean() < 0.05  # rounding to int8 falls otherwise


@given(lengths=st.lists(st.integers(1, 60), min_size=2, max_size=4))
@settings(max_examples=15, deadline=None)
def test_padding_changes_nothing(lengths: list[int]) -> None:
    model = network()
    states = torch.randn(len(lengths), max(lengths), WIDTH)  # past an end there may be anything
    mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).float()[:, :, None]
    with torch.inference_mode():
        together = model(states, mask)
        for row, one, length in zip(together, states, lengths, strict=True):
            alone = model(one[None, :length], mask.new_ones(1, length, 1))[0]
            assert len(alone) == (length + 1) // 2
            torch.testing.assert_close(row[: len(alone)], alone, atol=1e-4, rtol=0)
