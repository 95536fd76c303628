"""Small random encoder-decoder checkpoints, saved as a hub repository would hold them.

Their vocabularies are real sentencepiece models of a few words. Weights are wide, and output biases or embeddings are
drawn so that answers differ from input to input: a model that answers the same to everything tests nothing.
"""

import io
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import sentencepiece
import torch
from transformers import (
    M2M100Config,
    M2M100ForConditionalGeneration,
    M2M100Tokenizer,
    MarianConfig,
    MarianMTModel,
    MarianTokenizer,
    MBart50Tokenizer,
    MBartConfig,
    MBartForConditionalGeneration,
    MBartTokenizer,
    NllbTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    T5Config,
    T5ForConditionalGeneration,
    T5Tokenizer,
)
from transformers.models.nllb.tokenization_nllb import FAIRSEQ_LANGUAGE_CODES as NLLB_LANGUAGES

from models.export import exporter
from models.export.seq2seq.weight_only import quantize_weights
from services.core.catalog import ModelSpec

WORDS = list(
    dict.fromkeys(
        word
        for line in (
            "the a house garden tree river winter summer small large quick quiet friend letter window door morning",
            "evening bread water music paper street market child mother father teacher school train station ticket",
            "red green blue yellow white black open close read write bring carry follow remember forget begin finish",
            "never always often today tomorrow because although between under over near far café über straße",
        )
        for word in line.split()
    )
)

TEXTS = (
    "the small garden",
    "a quiet river near the old house.",
    "read",
    "mother and father never forget to bring bread today, because winter is near!",
    "Straße über café",
)


def sentences(count: int, seed: int = 7) -> list[str]:
    """Random sentences of known words."""
    chosen = random.Random(seed)
    return [" ".join(chosen.choices(WORDS, k=chosen.randint(2, 9))) + chosen.choice(".?! ") for _ in range(count)]


def train_pieces(file: Path, seed: int = 7, **options: object) -> None:
    """A sentencepiece model of `sentences`."""
    written = io.BytesIO()
    settings = {"vocab_size": 180, "model_type": "unigram", "hard_vocab_limit": False, "minloglevel": 2}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences(400, seed)), model_writer=written, **(settings | options)
    )
    file.write_bytes(written.getvalue())


def _pieces(file: Path) -> list[str]:
    model = sentencepiece.SentencePieceProcessor(model_file=str(file))
    return [model.id_to_piece(number) for number in range(model.get_piece_size())]


SHAPE = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 64,
}


def vary(model: PreTrainedModel, seed: int, end: float) -> None:
    """Draw weights with which answers differ from input to input.

    Args:
        model: its weights are drawn anew.
        seed: chosen by trying.
        end: how much larger than other tokens' is the embedding of the end, so that some answers end; by trying, too.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2 and not any(part in name for part in ("embed", "shared", "lm_head", "relative")):
                wide = 3 if any(part in name for part in ("encoder_attn", "EncDec")) else 1.5
                weight.normal_(std=wide / weight.shape[1] ** 0.5, generator=generator)
            if name.endswith("bias") and weight.ndim == 1:
                weight.normal_(std=0.1, generator=generator)
        embedded = model.get_output_embeddings().weight
        embedded.normal_(std=0.15, generator=generator)
        embedded[model.config.pad_token_id] = 0
        embedded[model.config.eos_token_id] *= end


def _save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, seed: int, end: float) -> Path:
    vary(model, seed, end)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def marian(folder: Path, targets: tuple[str, ...] = ()) -> Path:
    """Marian; with ``targets`` (``deu``) it is multilingual."""
    folder.mkdir()
    train_pieces(folder / "source.spm")
    train_pieces(folder / "target.spm", seed=8, model_type="bpe")
    known = dict.fromkeys(_pieces(folder / "source.spm")[3:] + _pieces(folder / "target.spm")[3:])
    tokens = ["</s>", "<unk>", *known, *(f">>{target}<<" for target in targets), "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    pad = len(tokens) - 1
    torch.manual_seed(3)
    model = MarianMTModel(
        MarianConfig(
            **SHAPE,
            vocab_size=len(tokens),
            pad_token_id=pad,
            eos_token_id=0,
            bos_token_id=None,
            decoder_start_token_id=pad,
            forced_eos_token_id=0,
            scale_embedding=True,
            activation_function="swish",
            init_std=0.15,
        )
    )
    model.final_logits_bias.normal_(std=0.2)
    model.generation_config.bad_words_ids = [[pad]]
    return _save(model, MarianTokenizer.from_pretrained(folder), folder, 1, 4)


def m2m100(folder: Path) -> Path:
    """M2M-100: ids are those of ``vocab.json``, language tokens come after them."""
    folder.mkdir()
    train_pieces(folder / "sentencepiece.bpe.model", model_type="bpe", byte_fallback=True, vocab_size=400)
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *_pieces(folder / "sentencepiece.bpe.model")[3:]]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    return _save(_m2m100_model(len(tokens) + 100 + 8), M2M100Tokenizer.from_pretrained(folder), folder, 6, 2)


def nllb(folder: Path) -> Path:
    """NLLB: the same network with another tokenizer."""
    folder.mkdir()
    train_pieces(folder / "sentencepiece.bpe.model", model_type="bpe")
    tokenizer = NllbTokenizer.from_pretrained(folder, extra_special_tokens=list(NLLB_LANGUAGES))
    return _save(_m2m100_model(len(tokenizer)), tokenizer, folder, 3, 3)


def _m2m100_model(vocabulary: int) -> M2M100ForConditionalGeneration:
    torch.manual_seed(4)
    return M2M100ForConditionalGeneration(
        M2M100Config(**SHAPE, vocab_size=vocabulary, scale_embedding=True, init_std=0.15)
    )


def mbart50(folder: Path) -> Path:
    """mBART-50: the decoder starts with the end token, then the language."""
    folder.mkdir()
    train_pieces(folder / "sentencepiece.bpe.model")
    tokenizer = MBart50Tokenizer.from_pretrained(folder)
    return _save(_mbart_model(len(tokenizer), decoder_start_token_id=2), tokenizer, folder, 1, 4)


def mbart(folder: Path) -> Path:
    """mBART-25: the decoder starts with the language itself."""
    folder.mkdir()
    train_pieces(folder / "sentencepiece.bpe.model")
    tokenizer = MBartTokenizer.from_pretrained(folder)
    start = tokenizer.convert_tokens_to_ids("de_DE")
    return _save(_mbart_model(len(tokenizer), decoder_start_token_id=start), tokenizer, folder, 1, 4)


def _mbart_model(vocabulary: int, **config: int) -> MBartForConditionalGeneration:
    torch.manual_seed(5)
    return MBartForConditionalGeneration(
        MBartConfig(**SHAPE, **config, vocab_size=vocabulary, scale_embedding=True, init_std=0.15)
    )


def t5(folder: Path, **config: object) -> Path:
    """T5: languages are named in the text."""
    folder.mkdir()
    train_pieces(folder / "spiece.model", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    tokenizer = T5Tokenizer.from_pretrained(folder)
    torch.manual_seed(6)
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=32,
            d_kv=8,
            d_ff=64,
            num_layers=3,
            num_decoder_layers=3,
            num_heads=4,
            decoder_start_token_id=0,
            task_specific_params={
                "translation_en_to_de": {"prefix": "translate English to German: "},
                "summarization": {"prefix": "summarize: "},
            },
            **config,
        )
    )
    return _save(model, tokenizer, folder, 1, 4)


CHECKPOINTS: dict[str, tuple[Callable[[Path], Path], dict[str, str]]] = {
    "marian": (marian, {"en": "en", "de": "de"}),
    "marian-multilingual": (lambda folder: marian(folder, ("eng", "deu")), {"en": "eng", "de": "deu"}),
    "m2m100": (m2m100, {"en": "en", "de": "de"}),
    "nllb": (nllb, {"en": "eng_Latn", "de": "deu_Latn"}),
    "mbart50": (mbart50, {"en": "en_XX", "de": "de_DE"}),
    "mbart": (mbart, {"en": "en_XX", "de": "de_DE"}),
    "t5": (t5, {"en": "English", "de": "German"}),
}
"""How each is made, and what it calls English and German."""


class Artefacts:
    """Checkpoints and what is exported from them, each made once below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def checkpoint(self, name: str) -> Path:
        """The folder of a checkpoint."""
        folder = self._folder / name
        return folder if folder.exists() else CHECKPOINTS[name][0](folder)

    def spec(self, name: str, engine: str = "ctranslate2", **fields: object) -> ModelSpec:
        """Its catalog entry."""
        entry = {
            "task": "translation",
            "name": name,
            "description": "",
            "engine": engine,
            "architecture": "seq2seq",
            "sources": {"checkpoint": {"uri": f"path:{self.checkpoint(name)}"}},
            "languages": CHECKPOINTS[name][1],
            "pairs": ("en-de",),
            "max_tokens": 60,
            "licence": "none",
        }
        return ModelSpec.model_validate(entry | fields)

    def export(self, name: str, engine: str = "ctranslate2", precision: str = "fp32") -> Path:
        """The artefact for an engine."""
        folder = self._folder / f"{name}-{engine}-{precision}"
        if folder.exists():
            return folder
        if (engine, precision) == ("onnx-seq2seq", "int8"):  # from fp32, sparing a second slow export
            shutil.copytree(self.export(name, engine), folder)
            for graph in folder.glob("*.onnx"):
                quantize_weights(graph)
            return folder
        folder.mkdir()
        spec = self.spec(name, engine, precision=precision)
        exporter(spec.architecture)(spec, {"checkpoint": self.checkpoint(name)}, folder)
        return folder
