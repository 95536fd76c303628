"""CTC checkpoints into artefacts: the same logits and letters as transformers, and what is refused on the way."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCTC, AutoTokenizer, Wav2Vec2Config, Wav2Vec2FeatureExtractor

from models.export import ExportError, exporter
from models.export.ctc.checkpoint import described, load
from models.export.ctc.graph import quantize
from models.export.ctc.language_model import FILE, copy_language_model
from models.sources import WEIGHTS
from services.core.audio import Samples
from services.core.catalog import ModelSpec, Precision
from services.core.engine import EngineOptions
from services.core.speech import Utterance
from services.engines.ctc.engine import CtcRecognizer
from services.engines.ctc.format import CtcFormat, LanguageModelSettings
from services.engines.ctc.network import Network
from services.engines.ctc.posteriors import posteriors
from tests.ctc_checkpoints import CONFIGS, TOKENS, checkpoint
from tests.engines.ctc.models import write_bigrams

pytestmark = pytest.mark.filterwarnings("default")

VAD = WEIGHTS / "silero-vad"


def spec(**fields: Any) -> ModelSpec:
    known = {"task": "asr", "name": "tiny", "description": "", "engine": "ctc", "licence": "none"}
    return ModelSpec.model_validate({**known, "languages": {"en": "en"}, **fields})


def noise(seconds: float, seed: int = 1) -> Samples:
    return np.random.default_rng(seed).normal(size=round(16_000 * seconds)).astype(np.float32) / 10


WAVES = (noise(3.1), noise(0.5, 2), noise(0.025, 3), np.sin(np.arange(20_000, dtype=np.float32) / 9))


def export(folder: Path, source: Path, **fields: Any) -> Path:
    folder.mkdir()
    exporter("wav2vec2-ctc")(spec(**fields), {"weights": source, "vad": VAD}, folder)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint with a norm over time, and its artefact."""
    source = checkpoint(tmp_path_factory.mktemp("base") / "checkpoint", CONFIGS["base"])
    return source, export(source.parent / "artefact", source)


def transformers_hears(source: Path, samples: Samples) -> tuple[np.ndarray, str]:
    """Logits and text."""
    model = AutoModelForCTC.from_pretrained(source).eval()
    features = Wav2Vec2FeatureExtractor.from_pretrained(source)
    values = features(samples, sampling_rate=16_000, return_tensors="pt").input_values
    with torch.inference_mode():
        logits = model(values).logits[0].numpy()
    tokens = logits.argmax(axis=1).tolist()
    text = AutoTokenizer.from_pretrained(source).decode(tokens, clean_up_tokenization_spaces=False)
    # Asked to skip special tokens, it also joins the letters beside them; a blank does not.
    text = re.sub(r"<\w+>|</s>", "", text)
    return logits, " ".join(text.lower().split())


def check_same(source: Path, artefact: Path) -> None:
    settings = CtcFormat.load(artefact)
    network = Network.load(artefact, settings, EngineOptions())
    engine = CtcRecognizer(network, settings)
    texts = []
    for wave, found in zip(WAVES, engine.run([Utterance(wave) for wave in WAVES]), strict=True):
        logits, text = transformers_hears(source, wave)
        np.testing.assert_allclose(network.logits([wave])[0], logits, atol=1e-3)
        assert found.text == text
        texts.append(text)
    assert len(set(texts)) > 2
    assert max(map(len, texts)) > 10


def test_the_artefact_hears_what_transformers_hears(base: tuple[Path, Path]) -> None:
    check_same(*base)
    assert sorted(path.name for path in base[1].iterdir()) == ["ctc.json", "model.onnx", "vad.onnx"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["large", "hubert", "wavlm"])
def test_other_kinds_hear_the_same(tmp_path: Path, kind: str) -> None:
    source = checkpoint(tmp_path / "checkpoint", CONFIGS[kind])
    check_same(source, export(tmp_path / "artefact", source))


def test_batches_hear_what_single_ones_hear(base: tuple[Path, Path]) -> None:
    engine = CtcRecognizer.load(base[1], EngineOptions())
    batch = [Utterance(wave) for wave in WAVES]
    assert engine.run(batch) == [engine.run([one])[0] for one in batch]


def test_int8_is_smaller_and_close(base: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(base[1], tmp_path / "int8")
    quantize(tmp_path / "int8" / "model.onnx")
    settings = CtcFormat.load(base[1])
    fp32, int8 = (Network.load(folder, settings, EngineOptions()) for folder in (base[1], tmp_path / "int8"))
    assert (tmp_path / "int8" / "model.onnx").stat().st_size < 0.8 * (base[1] / "model.onnx").stat().st_size
    for wave in WAVES:
        exact, near = (np.exp(posteriors(one.logits([wave])[0], settings).chances) for one in (fp32, int8))
        assert np.abs(exact - near).max() < 0.1
        assert np.abs(exact - near).mean() < 0.005


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8])
def test_the_shape_of_wav2vec2_base(tmp_path: Path, precision: Precision) -> None:
    source = checkpoint(tmp_path / "checkpoint", Wav2Vec2Config(vocab_size=len(TOKENS)))
    artefact = export(tmp_path / "artefact", source, precision=precision)
    size = (artefact / "model.onnx").stat().st_size / 1e6
    if precision is Precision.FP32:
        assert 370 < size < 400
        check_same(source, artefact)
    else:
        assert size < 140
        engine = CtcRecognizer.load(artefact, EngineOptions())
        assert engine.run([Utterance(WAVES[0])])[0].text


def test_ten_milliseconds_are_enough(base: tuple[Path, Path]) -> None:
    engine = CtcRecognizer.load(base[1], EngineOptions())
    found = engine.run([Utterance(noise(0.01)), Utterance(np.zeros(1, dtype=np.float32))])
    assert len(found) == 2


def test_frames_and_letters_are_described(base: tuple[Path, Path]) -> None:
    settings = CtcFormat.load(base[1])
    assert (settings.frame_seconds, settings.frame_offset, settings.fewest_samples) == (0.02, 0.0025, 400)
    assert (settings.blank, settings.silent, settings.delimiter) == (0, (1, 2, 3), 4)
    assert (settings.normalize, settings.formatted, settings.batches) == (True, False, False)
    logits = Network.load(base[1], settings, EngineOptions()).logits(WAVES)
    assert [len(rows) for rows in logits] == [settings.frames(len(wave)) for wave in WAVES]


def test_vocabularies_of_several_kinds(tmp_path: Path) -> None:
    mixed = checkpoint(tmp_path / "mixed", CONFIGS["base"], tokens=(*TOKENS[:-1], "q"))
    assert described(load(mixed), ("en",), None).formatted
    short = checkpoint(tmp_path / "short", CONFIGS["base"], tokens=TOKENS[:-2])
    assert described(load(short), ("en",), None).silent == (1, 2, 3, len(TOKENS) - 2, len(TOKENS) - 1)
    unparted = checkpoint(tmp_path / "unparted", CONFIGS["base"], tokens=(*TOKENS[:4], "Ä", *TOKENS[5:]))
    with pytest.raises(ExportError, match="no word delimiter"):
        described(load(unparted), ("en",), None)
    spaced = checkpoint(tmp_path / "spaced", CONFIGS["base"], tokens=(*TOKENS[:-1], "a b"))
    with pytest.raises(ExportError, match=r"not one of letters: .*no spaces"):
        described(load(spaced), ("en",), None)


def test_what_is_no_checkpoint_is_refused(base: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="cannot be opened as a CTC checkpoint"):
        load(tmp_path)
    with pytest.raises(ExportError, match="set 'languages"):
        export(tmp_path / "mute", base[0], languages={})
    shutil.copytree(base[0], tmp_path / "slow")
    Wav2Vec2FeatureExtractor(sampling_rate=8_000).save_pretrained(tmp_path / "slow")
    with pytest.raises(ExportError, match="hears 8000 Hz"):
        load(tmp_path / "slow")
    shutil.copytree(base[0], tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").rename(tmp_path / "pickled" / "pytorch_model.bin")
    with pytest.raises(ExportError, match="safetensors"):
        load(tmp_path / "pickled")


def test_other_families_are_refused(base: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(base[0], tmp_path / "other")
    config = json.loads((base[0] / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps({**config, "model_type": "data2vec-audio"}))
    with pytest.raises(ExportError, match="data2vec-audio is not exported; known: wav2vec2"):
        load(tmp_path / "other")


def test_a_language_model_goes_with_it(base: tuple[Path, Path], tmp_path: Path) -> None:
    folder, target = tmp_path / "lm", tmp_path / "target"
    folder.mkdir()
    target.mkdir()
    sources = {"weights": base[0], "vad": VAD, "language_model": folder}
    with pytest.raises(ExportError, match=f"{FILE}, or the n-grams"):
        exporter("wav2vec2-ctc")(spec(), sources, target)
    (folder / FILE).write_text(LanguageModelSettings(weight=0.3).model_dump_json())
    with pytest.raises(ExportError, match=r"the n-grams that it names, .*lm\.arpa\.gz"):
        copy_language_model(sources, target)
    write_bigrams(folder)
    copied = copy_language_model(sources, target)
    assert copied is not None
    assert copied.weight == 0.3
    assert (target / copied.file).read_bytes() == (folder / copied.file).read_bytes()
    (folder / FILE).write_text('{"weight": -1}')
    with pytest.raises(ExportError, match=r"weight: .*greater than or equal to 0"):
        copy_language_model(sources, target)


def test_other_precisions_are_refused(base: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="use fp32 or int8"):
        export(tmp_path / "nf4", base[0], precision=Precision.NF4)
