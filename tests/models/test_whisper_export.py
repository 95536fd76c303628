"""Whisper checkpoints in all the forms they are published in -> the same artefact."""

import json
import pickle
from pathlib import Path
from typing import Any

import ctranslate2
import pytest
import torch
import yaml

from models.export import UNGATED, ExportError, whisper
from services.core.catalog import ModelSpec
from services.core.engine import EngineOptions
from services.core.speech import Recognition, Recognized, Utterance
from services.engines.whisper import WhisperRecognizer
from services.engines.whisper.settings import WhisperSettings
from tests.whispers import (
    ENGLISH,
    LARGE_V3,
    SMALL,
    TINY,
    Shape,
    clips,
    export,
    write_converted,
    write_openai,
    write_tokenizer,
    write_transformers,
)

CT2_NAMES = {"fp32": "float32", "int8": "int8"}
FORMS = ("safetensors", "pickled", "openai", "converted")


@pytest.fixture(scope="module")
def forms(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Path]]:
    return written(tmp_path_factory.mktemp("forms"), SMALL)


def written(folder: Path, shape: Shape) -> dict[str, dict[str, Path]]:
    """Arguments of `export` by form."""
    safe = write_transformers(folder / "safetensors", shape)
    return {
        "safetensors": {"weights": safe},
        "pickled": {"weights": write_transformers(folder / "pickled", shape, pickled=True)},
        "openai": {
            "weights": write_openai(folder / "openai", shape),
            "tokens": write_tokenizer(folder / "tokens", shape),
        },
        "converted": {"weights": write_converted(folder / "converted", safe)},
    }


def transcribed(artefact: Path, context: int = 40) -> list[Recognized]:
    engine = WhisperRecognizer.load(artefact, EngineOptions(context=context))
    how = [Recognition(temperature=0.0, word_times=True), Recognition(language="de", temperature=0.0)]
    return engine.run([Utterance(samples, one) for samples, one in zip(clips(30.0, 3.0), how, strict=True)])


def test_the_entry_of_the_documentation_is_one() -> None:
    example = str(whisper.__doc__).partition("    models:")[2].partition("\n- ``checkpoint``")[0]
    (entry,) = yaml.safe_load(f"models:{example}")["models"]
    assert ModelSpec(task="asr", **entry).languages == {"en": "en", "de": "de"}


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_all_forms_say_the_same(tmp_path: Path, forms: dict[str, dict[str, Path]], precision: str) -> None:
    converted = write_converted(tmp_path / "c", forms["safetensors"]["weights"], CT2_NAMES[precision])
    sources = forms | {"converted": {"weights": converted}}
    found = [transcribed(export(tmp_path / form, **sources[form], precision=precision)) for form in FORMS]
    assert found[0][0].segments[0].words
    assert found[1:] == found[:1] * (len(FORMS) - 1)
    assert {(tmp_path / form / "whisper.json").read_text() for form in FORMS} == {
        (tmp_path / FORMS[0] / "whisper.json").read_text()
    }


@pytest.mark.slow
def test_all_forms_of_the_real_shape_say_the_same(tmp_path: Path) -> None:
    forms = written(tmp_path, TINY)
    found = [transcribed(export(tmp_path / "a" / form, **forms[form]), 120) for form in FORMS]
    assert found[1:] == found[:1] * (len(FORMS) - 1)


def test_an_artefact_has_all_that_serving_needs(tmp_path: Path, forms: dict[str, dict[str, Path]]) -> None:
    artefact = export(tmp_path / "a", **forms["openai"], precision="int8")
    there = {str(file.relative_to(artefact)) for file in artefact.rglob("*") if file.is_file()}
    assert there == {
        "vad.onnx",
        "encoder.onnx",
        "whisper.json",
        "tokenizer.json",
        "ct2/model.bin",
        "ct2/config.json",
        "ct2/vocabulary.json",
    }
    settings = WhisperSettings.load(artefact)
    assert (settings.start, settings.end, settings.first_timestamp) == (50_258, 50_257, 50_364)
    assert (settings.mels, settings.positions, settings.compute_type) == (80, 448, "int8")
    assert settings.languages["en"] == 50_259
    assert "whisper" in UNGATED


def test_what_no_speech_has_is_suppressed(tmp_path: Path, forms: dict[str, dict[str, Path]]) -> None:
    artefact = export(tmp_path / "a", **forms["openai"])
    config = json.loads((artefact / "ct2" / "config.json").read_text())
    vocabulary = json.loads((artefact / "ct2" / "vocabulary.json").read_text())
    never = {vocabulary[number] for number in config["suppress_ids"]}
    assert {"(", "((", "<<", "--", "Ġ-", "Ġ'", "Ġâ", "<|transcribe|>", "<|nospeech|>"} <= never
    assert not {"-", "'", ".", ",", "Ġ", "<|endoftext|>"} & never
    assert [vocabulary[number] for number in config["suppress_ids_begin"]] == ["Ġ", "<|endoftext|>"]
    assert config["alignment_heads"] == [[1, 0], [1, 1]]


def test_what_a_checkpoint_tells_is_taken(tmp_path: Path) -> None:
    told = {"suppress_tokens": [7], "begin_suppress_tokens": [8], "alignment_heads": [[0, 1]]}
    checkpoint = write_transformers(tmp_path / "w", told=told)
    for name, weights in (("a", checkpoint), ("b", write_converted(tmp_path / "c", checkpoint))):
        config = json.loads((export(tmp_path / name, weights) / "ct2" / "config.json").read_text())
        assert (config["suppress_ids"], config["suppress_ids_begin"]) == ([7], [8])
        assert config["alignment_heads"] == [[0, 1]]


@pytest.mark.parametrize("form", ["float16", "int8"])
def test_a_converted_model_is_taken_as_it_is(tmp_path: Path, form: str) -> None:
    converted = write_converted(tmp_path / "c", write_transformers(tmp_path / "w"), form)
    artefact = export(tmp_path / "a", converted, precision="int8")
    assert (artefact / "ct2" / "model.bin").read_bytes() == (converted / "model.bin").read_bytes()
    assert transcribed(artefact)[0].segments


@pytest.mark.parametrize(
    ("shape", "languages", "mels"), [(ENGLISH, 0, 80), (LARGE_V3, 100, 128)], ids=["english", "v3"]
)
def test_other_kinds_of_checkpoints(tmp_path: Path, shape: Shape, languages: int, mels: int) -> None:
    artefact = export(tmp_path / "a", write_openai(tmp_path / "w", shape), write_tokenizer(tmp_path / "t", shape))
    settings = WhisperSettings.load(artefact)
    assert (len(settings.languages), settings.mels) == (languages, mels)
    model = ctranslate2.models.Whisper(str(artefact / "ct2"), intra_threads=1)
    assert model.is_multilingual == bool(languages)
    assert settings.end == shape.text_tokens


def test_english_may_be_named_for_an_english_only_one(tmp_path: Path) -> None:
    weights, tokens = write_openai(tmp_path / "w", ENGLISH), write_tokenizer(tmp_path / "t", ENGLISH)
    assert WhisperSettings.load(export(tmp_path / "a", weights, tokens, languages={"en": "en"})).languages == {}
    with pytest.raises(ExportError, match=r"does not know de; it knows en$"):
        export(tmp_path / "b", weights, tokens, languages={"de": "de"})


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"languages": {"en": "en", "xx": "xx"}}, "does not know xx; it knows en, zh, de"),
        ({"precision": "bf16"}, "bf16 is not made of whisper; use fp32 or int8"),
    ],
)
def test_entries_that_cannot_be_built(
    tmp_path: Path, forms: dict[str, dict[str, Path]], entry: dict[str, Any], said: str
) -> None:
    with pytest.raises(ExportError, match=said):
        export(tmp_path / "a", **forms["safetensors"], **entry)


def test_a_tokenizer_is_asked_for_and_must_be_its_own(tmp_path: Path, forms: dict[str, dict[str, Path]]) -> None:
    weights = forms["openai"]["weights"]
    with pytest.raises(ExportError, match="name a source 'tokenizer'"):
        export(tmp_path / "a", weights)
    with pytest.raises(ExportError, match="the tokenizer is one for 51864 tokens, the network has 51865"):
        export(tmp_path / "b", weights, write_tokenizer(tmp_path / "english", ENGLISH))
    other = tmp_path / "other"
    other.mkdir()
    (other / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": []}}')
    with pytest.raises(ExportError, match=r"no <\|notimestamps\|>"):
        export(tmp_path / "c", weights, other)


class Evil:
    def __reduce__(self) -> Any:
        return print, ("run",)


def _pickle(file: Path) -> None:
    with file.open("wb") as stream:
        pickle.dump({"dims": Evil(), "model_state_dict": {}}, stream, protocol=2)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda _: None, "it is no Whisper checkpoint"),
        (lambda folder: (folder / "a.pt").write_bytes(b""), "no whole checkpoint of openai-whisper"),
        (lambda folder: (folder / "a.pt").write_bytes(b"\x80\x02 no pickle"), "no whole checkpoint"),
        (lambda folder: _pickle(folder / "a.pt"), "no whole checkpoint"),
        (lambda folder: torch.save({"model_state_dict": {}}, folder / "a.pt"), "no whole checkpoint"),
        (lambda folder: [(folder / name).touch() for name in ("a.pt", "b.pt")], "several .pt files"),
        (lambda folder: (folder / "model.bin").touch(), "no vocabulary.json or vocabulary.txt"),
        (lambda folder: (folder / "model.safetensors").touch(), "cannot be opened"),
    ],
)
def test_weights_that_are_none(tmp_path: Path, write: Any, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_tokenizer(tmp_path / "w")
    write(folder)
    with pytest.raises(ExportError, match=said):
        export(tmp_path / "a", folder)
    assert "run" not in capsys.readouterr().out.split()


def test_a_converted_model_that_is_broken(tmp_path: Path, forms: dict[str, dict[str, Path]]) -> None:
    folder = write_converted(tmp_path / "w", forms["safetensors"]["weights"])
    (folder / "model.bin").write_bytes(b"none")
    with pytest.raises(ExportError, match="CTranslate2 cannot open the model"):
        export(tmp_path / "a", folder)


def test_weights_of_another_network(tmp_path: Path) -> None:
    folder = write_transformers(tmp_path / "w")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"decoder_layers": 3}))
    with pytest.raises(ExportError, match=r"it lacks model\.decoder\.layers\.2"):
        export(tmp_path / "a", folder)
