"""A trained network -> the bundled weights: the average of its steps, int8, as `models.export.seq2seq` reads them."""

import json
import shutil
from pathlib import Path

from config import Config
from corpus import HOLDERS
from safetensors.torch import save_file
from trainer import Trainer
from transformers import M2M100Config

from models.export.seq2seq.packing import pack
from models.sources import WEIGHTS

NAME = Path(__file__).resolve().parent.name


def write_weights(
    trainer: Trainer, config: Config, vocabulary: Path, out: Path | None = None, *, full: bool = False
) -> Path:
    """Write ``model.safetensors``, ``config.json``, ``vocabulary.model`` and ``text.json``; returns their folder.

    With ``full``, the weights are not packed: the reference that int8 is compared with.
    """
    target = out or WEIGHTS / NAME
    target.mkdir(parents=True, exist_ok=True)
    names = [f"model.{name}" for name, _ in trainer.network.named_parameters()]
    weights = dict(zip(names, (weight.cpu() for weight in trainer.average), strict=True))
    save_file(weights if full else pack(weights), target / "model.safetensors")
    rows = trainer.network.shared.num_embeddings
    (target / "config.json").write_text(architecture(config, rows).to_json_string(), encoding="utf-8")
    shutil.copy(vocabulary, target / "vocabulary.model")
    (target / "text.json").write_text(json.dumps({"holders": HOLDERS}, indent=1) + "\n", encoding="utf-8")
    return target


def architecture(config: Config, vocabulary: int) -> M2M100Config:
    """The network, as transformers knows it."""
    network = config.network
    return M2M100Config(
        vocab_size=vocabulary,
        d_model=network.width,
        encoder_layers=network.encoder_layers,
        decoder_layers=network.decoder_layers,
        encoder_attention_heads=network.heads,
        decoder_attention_heads=network.heads,
        encoder_ffn_dim=network.feed_forward,
        decoder_ffn_dim=network.feed_forward,
        dropout=0.0,
        attention_dropout=0.0,
        encoder_layerdrop=0.0,
        decoder_layerdrop=0.0,
        max_position_embeddings=1024,
        scale_embedding=True,
        tie_word_embeddings=True,
        architectures=["M2M100ForConditionalGeneration"],
    )
