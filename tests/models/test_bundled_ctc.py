"""The network that spots words, and its export into an artefact of the ``ctc`` engine."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.export import ExportError, exporter
from models.export.bundled_ctc.checkpoint import Settings, load, save
from models.export.bundled_ctc.network import Network, NetworkSizes, mel_filters
from models.sources import WEIGHTS
from services.core.catalog import ModelSpec
from services.core.engine import EngineOptions
from services.core.speech import Utterance
from services.engines.ctc.engine import CtcRecognizer

pytestmark = pytest.mark.filterwarnings("default")

SIZES = NetworkSizes(tokens=4, mels=16, channels=(4, 4), width=24, kernel=5, early=1, late=2)
SETTINGS = Settings(sizes=SIZES, tokens=("<blank>", "yes", "no", "on"), languages=("en",), seconds=10)
SPEC = ModelSpec(task="asr", name="spotter", description="", engine="ctc", architecture="bundled-ctc", licence="MIT")


def network(seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return Network(SIZES).eval()


def noise(samples: int, seed: int = 0) -> np.ndarray:
    """Bursts, so that there is something to tell apart."""
    loudness = 0.3 * (1.05 + np.sin(np.arange(samples) / 2500))
    return (np.random.default_rng(seed).normal(size=samples) * loudness * 0.2).astype(np.float32)


def answer(model: Network, wave: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        return model(torch.from_numpy(wave)[None], torch.ones(1, len(wave), dtype=torch.long))[0]


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, target = tmp_path_factory.mktemp("weights"), tmp_path_factory.mktemp("artefact")
    save(network(), SETTINGS, folder)
    report = exporter("bundled-ctc")(SPEC, {"weights": folder, "vad": WEIGHTS / "silero-vad"}, target)
    assert report["parity_error"] < 1e-4
    return target


def test_the_artefact_is_what_the_engine_reads(artefact: Path) -> None:
    assert {path.name for path in artefact.iterdir()} == {"model.onnx", "ctc.json", "vad.onnx"}
    recognizer = CtcRecognizer.load(artefact, EngineOptions())
    lengths = (16_000, 1, 640, 641, 9_999)
    heard = recognizer.run([Utterance(noise(length)) for length in lengths])
    alone = [recognizer.run([Utterance(noise(length))])[0] for length in lengths]
    assert [one.text for one in heard] == [one.text for one in alone]
    recognizer.close()


def test_the_export_is_the_same_each_time(artefact: Path, tmp_path: Path) -> None:
    save(network(), SETTINGS, tmp_path)
    exporter("bundled-ctc")(SPEC, {"weights": tmp_path, "vad": WEIGHTS / "silero-vad"}, tmp_path)
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


@given(decibels=st.floats(-30, 0), length=st.integers(800, 20_000))
@settings(max_examples=15, deadline=None)
def test_loudness_does_not_matter(decibels: float, length: int) -> None:
    model, wave = network(), noise(length)
    softer = wave * np.float32(10 ** (decibels / 20))
    torch.testing.assert_close(answer(model, softer), answer(model, wave), atol=2e-3, rtol=0)


@given(lengths=st.lists(st.integers(1, 12_000), min_size=2, max_size=4))
@settings(max_examples=15, deadline=None)
def test_a_batch_changes_nothing(lengths: list[int]) -> None:
    model = network()
    waves = torch.randn(len(lengths), max(lengths))  # past an end there may be anything
    mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()
    with torch.inference_mode():
        together = model(waves, mask)
    for row, wave, length in zip(together, waves, lengths, strict=True):
        alone = answer(model, wave[:length].numpy())
        assert len(alone) == (length - 1) // 640 + 1
        torch.testing.assert_close(row[: len(alone)], alone, atol=1e-4, rtol=0)


def test_silence_is_an_answer_without_nan() -> None:
    assert torch.isfinite(answer(network(), np.zeros(5000, np.float32))).all()


@pytest.mark.parametrize("warp", [0.84, 1.0, 1.2])
def test_every_filter_hears_something(warp: float) -> None:
    filters = mel_filters(40, warp)
    assert filters.shape == (128, 40)
    assert (filters >= 0).all()
    assert (filters.sum(0) > 0).all() or warp > 1  # warped up, the highest may lie past 4 kHz
