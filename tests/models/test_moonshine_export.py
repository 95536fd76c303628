"""Moonshine as it is published -> an artefact: the same every time, and nothing else is taken."""

import shutil
from pathlib import Path

import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from tokenizers import Tokenizer

from models.export import ExportError, exporter
from models.export.moonshine import DECODER
from models.export.moonshine.decoder import ALIGNING
from models.export.moonshine.parity import MAX_PARITY_ERROR, require_parity
from models.export.moonshine.source import Published, open_published
from models.export.moonshine.text import BYTES, SPECIAL, read_pieces, read_tokenizer
from models.sources import fetch, sha256
from services.core.catalog import ModelSpec, read_catalog
from services.core.settings import BUNDLED_CATALOG

SPEC: ModelSpec = read_catalog([BUNDLED_CATALOG], ["asr"]).resolve("asr", "moonshine-tiny-en")
SOURCES = {role: fetch(source) for role, source in SPEC.sources.items()}
VOCABULARY = SOURCES["weights"] / "tokenizer.bin"
PIECES = read_pieces(VOCABULARY)
TOKENIZER = read_tokenizer(VOCABULARY)


def export(target: Path) -> dict[str, object]:
    return dict(exporter(SPEC.architecture)(SPEC, SOURCES, target))


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("moonshine")
    (error,) = export(target).values()
    assert isinstance(error, float)
    assert error <= MAX_PARITY_ERROR
    return target


@pytest.fixture(scope="module")
def tokenizer(artefact: Path) -> Tokenizer:
    return Tokenizer.from_file(str(artefact / "tokenizer.json"))


def test_it_is_the_same_every_time(artefact: Path, tmp_path: Path) -> None:
    export(tmp_path)
    digests = [{file.name: sha256(file) for file in folder.iterdir()} for folder in (artefact, tmp_path)]
    assert digests[0] == digests[1]
    assert set(digests[0]) == {"encoder.onnx", "decoder.onnx", "tokenizer.json", "vad.onnx"}


def test_a_step_that_computes_something_else_is_refused(artefact: Path, tmp_path: Path) -> None:
    shutil.copytree(artefact, tmp_path, dirs_exist_ok=True)
    graph = onnx.load(artefact / "decoder.onnx")
    for weight in graph.graph.initializer:
        if weight.name == "sines":
            weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    onnx.save(graph, tmp_path / "decoder.onnx")
    with pytest.raises(ExportError, match="differs from the published one"):
        require_parity(SOURCES["weights"], tmp_path)


def test_what_is_no_graph_or_another_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / DECODER).write_bytes(b"no graph")
    with pytest.raises(ExportError, match="cannot be opened"):
        open_published(tmp_path / DECODER)
    encoder = Published(open_published(SOURCES["weights"] / "encoder_model.ort"))
    with pytest.raises(ExportError, match="has no node"):
        encoder.weights("/proj_out/MatMul_quant")
    assert len(set(ALIGNING)) == len(ALIGNING)


def test_every_piece_is_written_as_it_was(tokenizer: Tokenizer) -> None:
    assert tokenizer.get_vocab_size() == len(PIECES) == 32_768
    for number, piece in enumerate(PIECES):
        if number not in BYTES:
            assert tokenizer.id_to_token(number) == piece.decode()


@given(st.text(max_size=8))
def test_bytes_make_characters(text: str) -> None:
    assert TOKENIZER.decode([BYTES[0] + byte for byte in f" {text}".encode()]) == text


def test_special_tokens_are_not_written(tokenizer: Tokenizer) -> None:
    hello = PIECES.index("▁hello".encode())
    unused = len(PIECES) - 1
    assert tokenizer.decode([*range(len(SPECIAL)), hello, unused, hello]) == "hello hello"


@pytest.mark.parametrize(
    "content", [b"", b"\x05abc", b"\x80", b"\x01a\x01b\x01c", VOCABULARY.read_bytes() + b"\x01\xff"]
)
def test_other_vocabularies_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.bin").write_bytes(content)
    with pytest.raises(ExportError, match="tokenizer"):
        read_tokenizer(tmp_path / "tokenizer.bin")
