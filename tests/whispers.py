"""Whisper checkpoints of random weights, in the forms they are published in, with a tokenizer laid out as theirs."""

import json
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import WhisperConfig, WhisperForConditionalGeneration
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from models.export import exporter
from models.sources import WEIGHTS
from services.core.audio import SPEECH_RATE, Samples
from services.core.catalog import ModelSpec

TEXT_TOKENS = 50_257
"""Of a multilingual checkpoint; English-only ones have one less."""

TIMESTAMPS = 1501
TASKS = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")
PIECES = ("Ġthe", "Ġand", "Ġship", "Ġ-", "Ġ'", "--", "<<", "((", "Ġâ")


@dataclass(frozen=True)
class Shape:
    """Sizes of a checkpoint; those of the smallest that works, but for its vocabulary."""

    width: int = 32
    layers: int = 2
    heads: int = 2
    mels: int = 80
    text_tokens: int = TEXT_TOKENS
    languages: int = 99
    spread: float = 0.2

    @property
    def vocabulary(self) -> int:
        """All tokens."""
        return self.text_tokens + 2 + self.languages + len(TASKS) + TIMESTAMPS


SMALL = Shape()
ENGLISH = Shape(text_tokens=TEXT_TOKENS - 1)
LARGE_V3 = Shape(mels=128, languages=100)
TINY = Shape(width=384, layers=4, heads=6, spread=0.05)
"""The shape of openai/whisper-tiny."""


@cache
def tokenizer(shape: Shape = SMALL) -> Tokenizer:
    """Bytes, a few pieces of words, tokens that nobody writes, then the special ones; timestamps have no names."""
    tokens = dict.fromkeys(sorted(pre_tokenizers.ByteLevel.alphabet()))
    merges = []
    for piece in PIECES:
        for end in range(2, len(piece) + 1):
            if piece[:end] not in tokens:
                merges.append((piece[: end - 1], piece[end - 1]))
                tokens[piece[:end]] = None
    unused = (f"Ġ{number:05d}" for number in range(TEXT_TOKENS))
    vocabulary = {token: number for number, token in enumerate([*tokens, *unused][: TEXT_TOKENS - 1])}
    if shape.text_tokens == TEXT_TOKENS:
        vocabulary[""] = TEXT_TOKENS - 1  # multilingual ones have it, and CTranslate2 knows them by it
    found = Tokenizer(BPE(vocabulary, merges))
    found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = decoders.ByteLevel()
    names = ["endoftext", "startoftranscript", *[*LANGUAGES][: shape.languages], *TASKS]
    found.add_special_tokens([AddedToken(f"<|{name}|>", special=True) for name in names])
    return found


def network(shape: Shape = SMALL, seed: int = 1) -> WhisperForConditionalGeneration:
    """Random weights; with a wide spread, so that what is written depends on what is heard."""
    torch.manual_seed(seed)
    end = shape.text_tokens
    config = WhisperConfig(
        vocab_size=shape.vocabulary,
        num_mel_bins=shape.mels,
        d_model=shape.width,
        encoder_layers=shape.layers,
        decoder_layers=shape.layers,
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        encoder_ffn_dim=4 * shape.width,
        decoder_ffn_dim=4 * shape.width,
        init_std=shape.spread,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=end + 1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    return WhisperForConditionalGeneration(config).eval()


def convince(model: WhisperForConditionalGeneration) -> None:
    """Make it sure that nobody speaks, whatever it hears."""
    end = model.config.eos_token_id
    with torch.no_grad():
        decoder = model.model.decoder
        decoder.layer_norm.weight.zero_()  # what comes out is the same for all that goes in
        decoder.layer_norm.bias.fill_(1.0)
        decoder.embed_tokens.weight[end + 2 + len(LANGUAGES) - 1 + TASKS.index("nospeech")] = 1.0


def write_transformers(
    folder: Path,
    shape: Shape = SMALL,
    *,
    pickled: bool = False,
    convinced: bool = False,
    told: dict[str, Any] | None = None,
) -> Path:
    """As a hub repository has it; ``told`` goes into its ``generation_config.json``."""
    model = network(shape)
    if convinced:
        convince(model)
    for name, value in ({"_from_model_config": False} | (told or {})).items():
        setattr(model.generation_config, name, value)
    model.save_pretrained(folder)
    if pickled:
        (folder / "model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
    tokenizer(shape).save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(json.dumps({"feature_size": shape.mels}))
    return folder


_NAMES = {
    "model.": "",
    "layers.": "blocks.",
    "encoder_attn_layer_norm": "cross_attn_ln",
    "self_attn_layer_norm": "attn_ln",
    "final_layer_norm": "mlp_ln",
    "encoder_attn": "cross_attn",
    "self_attn": "attn",
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "out_proj": "out",
    "fc1": "mlp.0",
    "fc2": "mlp.2",
    "embed_tokens": "token_embedding",
    "embed_positions.weight": "positional_embedding",
    "encoder.layer_norm": "encoder.ln_post",
    "decoder.layer_norm": "decoder.ln",
}


def write_openai(folder: Path, shape: Shape = SMALL) -> Path:
    """The same weights as one ``.pt`` file, as openai-whisper saves them."""
    own = network(shape).state_dict()
    del own["proj_out.weight"]
    tensors = {reduce(lambda name, pair: name.replace(*pair), _NAMES.items(), name): own[name] for name in own}
    sizes = {"ctx": 1500, "state": shape.width, "head": shape.heads, "layer": shape.layers}
    dims = {"n_mels": shape.mels, "n_vocab": shape.vocabulary}
    dims |= {f"n_audio_{name}": size for name, size in sizes.items()}
    dims |= {f"n_text_{name}": size for name, size in (sizes | {"ctx": 448}).items()}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"dims": dims, "model_state_dict": tensors}, folder / "whisper.pt")
    return folder


def write_converted(folder: Path, checkpoint: Path, quantization: str | None = None) -> Path:
    """The checkpoint in CTranslate2's form, by its own converter, with the files that faster-whisper adds."""
    files = ["tokenizer.json", "preprocessor_config.json"]
    converter = ctranslate2.converters.TransformersConverter(str(checkpoint), copy_files=files)
    converter.convert(str(folder), quantization=quantization)
    return folder


def export(target: Path, weights: Path, tokens: Path | None = None, **entry: Any) -> Path:
    """The artefact of a checkpoint, as a catalog entry with these fields has it."""
    fields = {"name": "w", "description": "", "engine": "whisper", "architecture": "whisper", "licence": "none"}
    spec = ModelSpec(task="asr", **(fields | entry))
    target.mkdir(parents=True)
    sources = {"weights": weights, "vad": WEIGHTS / "silero-vad"} | ({"tokenizer": tokens} if tokens else {})
    exporter("whisper")(spec, sources, target)
    return target


def write_tokenizer(folder: Path, shape: Shape = SMALL) -> Path:
    """A folder with nothing but ``tokenizer.json``."""
    folder.mkdir(parents=True)
    tokenizer(shape).save(str(folder / "tokenizer.json"))
    return folder


def clips(*seconds: float, seed: int = 0) -> list[Samples]:
    """Noise that comes and goes, at 16 kHz; no two alike."""
    rng = np.random.default_rng(seed)
    lengths = [max(1, round(SPEECH_RATE * one)) for one in seconds]
    waves = [np.sin(np.arange(length) * (0.02 + 0.03 * number)) for number, length in enumerate(lengths)]
    return [(0.2 * wave + 0.1 * rng.standard_normal(len(wave))).astype(np.float32) for wave in waves]
