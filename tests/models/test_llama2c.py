"""Checkpoints of llama2.c: the converted network and tokenizer against the arithmetic of its own C source."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from models.export import ExportError, exporter
from models.export.llama2c.checkpoint import Header, read_tensors
from models.export.llama2c.tokenizer import FIRST_PIECE, read_pieces
from tests.checkpoints import TEXTS, sentences
from tests.llamas import llama_spec

STORIES = Path(__file__).parents[3] / "shared" / "data" / "models" / "stories260K"
NETWORK, PIECES = STORIES / "stories260K.bin", STORIES / "tok512.bin"
PROMPT = "Once upon a time"

needs_stories = pytest.mark.skipif(not NETWORK.is_file(), reason=f"needs {NETWORK.name}, which is not ours to ship")


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("stories")
    report = exporter("llama2c")(llama_spec(STORIES, "llama2c"), {"weights": STORIES}, target)
    assert report == {"family": "llama", "parameters": 260_032}
    assert {path.name for path in target.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    return target


@pytest.fixture(scope="module")
def tokenizer(artefact: Path) -> Tokenizer:
    return Tokenizer.from_file(str(artefact / "tokenizer.json"))


def encode(text: str, ids: dict[str, int], scores: list[float]) -> list[int]:
    """``encode`` of llama2.c's run.c: characters, or their bytes; then the best neighbours joined, one by one."""
    tokens = [1]
    for character in f" {text}" if text else "":
        tokens += [ids[character]] if character in ids else [byte + 3 for byte in character.encode()]
    names = {number: name for name, number in ids.items()}
    while True:
        pairs = [names.get(a, "\0") + names.get(b, "\0") for a, b in pairwise(tokens)]
        known = [place for place, pair in enumerate(pairs) if pair in ids]
        if not known:
            return tokens
        best = max(known, key=lambda place: scores[ids[pairs[place]]])
        tokens[best : best + 2] = [ids[pairs[best]]]


@pytest.fixture(scope="module")
def reference() -> tuple[dict[str, int], list[float]]:
    pieces = read_pieces(PIECES, 512)
    ids = {piece.text: number for number, piece in enumerate(pieces) if number >= FIRST_PIECE}
    return ids, [piece.score for piece in pieces]


@needs_stories
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0▁<")) | st.text("abehilnot .,\n", max_size=60))
def test_texts_are_cut_as_llama2c_cuts_them(
    tokenizer: Tokenizer, reference: tuple[dict[str, int], list[float]], text: str
) -> None:
    assert tokenizer.encode(text).ids == encode(text, *reference)
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


@needs_stories
@pytest.mark.parametrize("text", [PROMPT, *TEXTS, " leading and  doubled ", "1,234 <b>", *sentences(40)])
def test_sentences_are_cut_as_llama2c_cuts_them(
    tokenizer: Tokenizer, reference: tuple[dict[str, int], list[float]], text: str
) -> None:
    assert tokenizer.encode(text).ids == encode(text, *reference)


Floats = NDArray[np.float32]


def rmsnorm(x: Floats, weight: Floats) -> Floats:
    return weight * x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)


def turned(x: Floats, head: int) -> Floats:
    """Neighbours as complex numbers, turned by their position: ``[length, heads, head]``."""
    length = len(x)
    angles = np.arange(length)[:, None] / 10000.0 ** (np.arange(0, head, 2) / head)
    pairs = x.reshape(length, -1, head // 2, 2)
    spun = (pairs[..., 0] + 1j * pairs[..., 1]) * np.exp(1j * angles)[:, None]
    return np.stack([spun.real, spun.imag], -1).reshape(length, -1, head)


def attended(h: Header, query: Floats, key: Floats, value: Floats) -> Floats:
    shared = h.heads // h.kv_heads
    key, value = (np.repeat(part, shared, axis=1) for part in (key, value))
    scores = np.einsum("qhd,khd->hqk", query, key) / np.sqrt(h.head)
    scores[:, ~np.tri(len(query), dtype=bool)] = -np.inf
    chances = np.exp(scores - scores.max(-1, keepdims=True))
    chances /= chances.sum(-1, keepdims=True)
    return np.einsum("hqk,khd->qhd", chances, value).reshape(len(query), -1)


def forward(ids: list[int]) -> Floats:
    """``forward`` of run.c, for all positions at once."""
    h, w = read_tensors(NETWORK)
    x = w["model.embed_tokens"][ids]
    for layer in range(h.layers):
        part = {name: tensor[layer] for name, tensor in w.items() if len(tensor) == h.layers}
        y = rmsnorm(x, part["input_layernorm"])
        query = turned(y @ part["self_attn.q_proj"].T, h.head)
        key = turned(y @ part["self_attn.k_proj"].T, h.head)
        value = (y @ part["self_attn.v_proj"].T).reshape(len(ids), -1, h.head)
        x = x + attended(h, query, key, value) @ part["self_attn.o_proj"].T
        y = rmsnorm(x, part["post_attention_layernorm"])
        gate = y @ part["mlp.gate_proj"].T
        x = x + (gate / (1 + np.exp(-gate)) * (y @ part["mlp.up_proj"].T)) @ part["mlp.down_proj"].T
    return rmsnorm(x, w["model.norm"]) @ w["model.embed_tokens"].T


@needs_stories
def test_it_computes_what_llama2c_computes_and_tells_a_story(artefact: Path, tokenizer: Tokenizer) -> None:
    network = AutoModelForCausalLM.from_pretrained(artefact)
    prompt = torch.tensor([tokenizer.encode(PROMPT).ids])
    written = network.generate(prompt, do_sample=False, max_new_tokens=150)[0]
    with torch.inference_mode():
        logits = network(written[None]).logits[0].numpy()
    assert np.abs(forward(written.tolist()) - logits).max() < 1e-4
    story = tokenizer.decode(written.tolist())
    assert story.startswith("Once upon a time, there was a little girl named Lily. She loved to play")
    assert story.count(". ") >= 5


def stories(folder: Path, network: bytes, pieces: bytes = b"") -> Path:
    folder.mkdir()
    (folder / "tiny.bin").write_bytes(network)
    (folder / "tok1.bin").write_bytes(pieces)
    return folder


def header(*sizes: int) -> bytes:
    return np.array(sizes, dtype="<i4").tobytes()


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (b"", "not a version 0 checkpoint"),
        (b"PK\3\4" * 20, "not a version 0 checkpoint"),
        (header(64, 172, 5, 8, 0, 512, 512), "not a version 0 checkpoint"),
        (header(64, 172, 5, 7, 7, 512, 512), "not a version 0 checkpoint"),
        (header(64, 172, 5, 8, 4, 512, 512) + bytes(4), "not a whole checkpoint"),
        (header(8, 8, 1, 2, 1, -4, 4) + bytes(4 * 200), "not a whole checkpoint"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, network: bytes, told: str) -> None:
    folder = stories(tmp_path / "in", network)
    with pytest.raises(ExportError, match=told):
        exporter("llama2c")(llama_spec(folder, "llama2c"), {"weights": folder}, tmp_path)


@needs_stories
@pytest.mark.parametrize(
    ("cut", "told"), [(-3, "not a tokenizer of 512 pieces"), (None, "more than the network's 512")]
)
def test_a_tokenizer_of_another_size_is_refused(tmp_path: Path, cut: int | None, told: str) -> None:
    pieces = PIECES.read_bytes()
    folder = stories(tmp_path / "in", NETWORK.read_bytes(), pieces[:cut] if cut else pieces + b"x")
    with pytest.raises(ExportError, match=told):
        exporter("llama2c")(llama_spec(folder, "llama2c"), {"weights": folder}, tmp_path)


def test_one_network_and_one_tokenizer_are_wanted(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"one checkpoint of llama2\.c and one tokenizer"):
        exporter("llama2c")(llama_spec(tmp_path, "llama2c"), {"weights": tmp_path}, tmp_path)
