"""A checkpoint of the shape of Whisper tiny with random weights, in the forms its contenders read, and clips.

Its speed is that of a trained one; what it says means nothing. It never ends by itself and writes no times but the
first: every clip gets as many tokens as may be, in one segment. Run as a module it writes all into a folder, so that no
process under test makes it:

    openai/whisper.pt     for openai-whisper, and what the others are made from
    artefact/             for Chorale, in int8
    faster/               the same weights, as faster-whisper wants them
    clips.npy             float32 [clips, samples], 30 s each of noise that comes and goes
"""

import json
import shutil
import string
import sys
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path

CLIPS, SECONDS, NEW_TOKENS = 8, 30, 60
RATE = 16_000
WIDTH, LAYERS, HEADS, MELS = 384, 4, 6, 80
TEXT_TOKENS, LANGUAGES, TIMESTAMPS = 50_257, 99, 1501
END = TEXT_TOKENS
_TASKS = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")
VOCABULARY = TEXT_TOKENS + 2 + LANGUAGES + len(_TASKS) + TIMESTAMPS


def write(folder: Path) -> None:
    """All of it."""
    _write_checkpoint(folder / "openai")
    _write_tokenizer(folder / "tokenizer")
    _write_artefact(folder)
    _write_faster(folder / "artefact", folder / "faster")
    _write_clips(folder / "clips.npy")


def _write_checkpoint(target: Path) -> None:
    import torch

    torch.manual_seed(1)
    sizes = {"ctx": 1500, "state": WIDTH, "head": HEADS, "layer": LAYERS}
    dims = {"n_mels": MELS, "n_vocab": VOCABULARY}
    dims |= {f"n_audio_{name}": size for name, size in sizes.items()}
    dims |= {f"n_text_{name}": size for name, size in (sizes | {"ctx": 448}).items()}
    tensors = {name: torch.randn(shape) * 0.05 for name, shape in _tensors()}
    target.mkdir(parents=True)
    torch.save({"dims": dims, "model_state_dict": tensors}, target / "whisper.pt")


def _tensors() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes, as in openai-whisper."""
    yield from _with_bias("encoder.conv1", (WIDTH, MELS, 3))
    yield from _with_bias("encoder.conv2", (WIDTH, WIDTH, 3))
    yield "encoder.positional_embedding", (1500, WIDTH)
    yield "decoder.positional_embedding", (448, WIDTH)
    yield "decoder.token_embedding.weight", (VOCABULARY, WIDTH)
    yield from _with_bias("encoder.ln_post", (WIDTH,))
    yield from _with_bias("decoder.ln", (WIDTH,))
    for side, layer in product(("encoder", "decoder"), range(LAYERS)):
        block = f"{side}.blocks.{layer}"
        for attention in ("attn", "cross_attn")[: 1 + (side == "decoder")]:
            yield from _with_bias(f"{block}.{attention}_ln", (WIDTH,))
            yield f"{block}.{attention}.key.weight", (WIDTH, WIDTH)
            for part in ("query", "value", "out"):
                yield from _with_bias(f"{block}.{attention}.{part}", (WIDTH, WIDTH))
        yield from _with_bias(f"{block}.mlp_ln", (WIDTH,))
        yield from _with_bias(f"{block}.mlp.0", (4 * WIDTH, WIDTH))
        yield from _with_bias(f"{block}.mlp.2", (WIDTH, 4 * WIDTH))


def _with_bias(name: str, shape: tuple[int, ...]) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _write_tokenizer(target: Path) -> None:
    """Bytes, then tokens that nobody writes, then the special ones where they belong."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ("".join(word) for word in product(string.ascii_lowercase, repeat=4))
    tokens = [*letters, *islice(words, TEXT_TOKENS - 1 - len(letters)), ""]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    codes = ("".join(pair) for pair in product(string.ascii_lowercase, repeat=2))
    languages = ["en", *islice((code for code in codes if code != "en"), LANGUAGES - 1)]
    names = ["endoftext", "startoftranscript", *languages, *_TASKS]
    tokenizer.add_special_tokens([AddedToken(f"<|{name}|>", special=True) for name in names])
    target.mkdir(parents=True)
    tokenizer.save(str(target / "tokenizer.json"))


def _write_artefact(folder: Path) -> None:
    from models.export.whisper import export_whisper
    from models.sources import WEIGHTS
    from services.core.catalog import ModelSpec, Precision

    spec = ModelSpec(
        task="asr",
        name="whisper-shape",
        description="Random weights of the shape of Whisper tiny.",
        engine="whisper",
        architecture="whisper",
        languages={"en": "en"},
        precision=Precision.INT8,
        licence="none",
    )
    sources = {"weights": folder / "openai", "tokenizer": folder / "tokenizer", "vad": WEIGHTS / "silero-vad"}
    (folder / "artefact").mkdir()
    export_whisper(spec, sources, folder / "artefact")
    file = folder / "artefact" / "ct2" / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    never = [END, *range(VOCABULARY - TIMESTAMPS + 1, VOCABULARY)]
    file.write_text(json.dumps(config | {"suppress_ids": [*config["suppress_ids"], *never]}), encoding="utf-8")


def _write_faster(artefact: Path, target: Path) -> None:
    shutil.copytree(artefact / "ct2", target)
    shutil.copyfile(artefact / "tokenizer.json", target / "tokenizer.json")
    (target / "preprocessor_config.json").write_text(json.dumps({"feature_size": MELS}), encoding="utf-8")


def _write_clips(file: Path) -> None:
    import numpy as np

    rng = np.random.default_rng(1)
    loudness = np.abs(np.sin(np.arange(SECONDS * RATE) / 9000.0))
    clips = rng.standard_normal((CLIPS, SECONDS * RATE)) * loudness * 0.1
    np.save(file, clips.astype(np.float32))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
