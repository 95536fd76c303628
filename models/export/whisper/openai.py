"""Checkpoints of openai-whisper: one file with sizes (``dims``) and tensors, which get transformers' names here."""

import pickle
import re
from pathlib import Path
from typing import Any

import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

from models.export import ExportError
from models.export.whisper.checkpoint import Network

_RENAMED = (
    (r"^(encoder|decoder)\.", r"model.\1."),
    (r"\.blocks\.", ".layers."),
    (r"\.token_embedding\.", ".embed_tokens."),
    (r"\.positional_embedding$", ".embed_positions.weight"),
    (r"\.(ln|ln_post)\.", ".layer_norm."),
    (r"\.attn_ln\.", ".self_attn_layer_norm."),
    (r"\.cross_attn_ln\.", ".encoder_attn_layer_norm."),
    (r"\.mlp_ln\.", ".final_layer_norm."),
    (r"\.mlp\.0\.", ".fc1."),
    (r"\.mlp\.2\.", ".fc2."),
    (r"\.cross_attn\.", ".encoder_attn."),
    (r"\.attn\.", ".self_attn."),
    (r"\.query\.", ".q_proj."),
    (r"\.key\.", ".k_proj."),
    (r"\.value\.", ".v_proj."),
    (r"(_attn)\.out\.", r"\1.out_proj."),
)
"""In this order."""


def only_pt(folder: Path) -> Path | None:
    """The ``.pt`` file of a folder, if it is no checkpoint of another form.

    Raises:
        ExportError: there are several.
    """
    files = sorted(folder.glob("*.pt"))
    if len(files) > 1:
        raise ExportError(f"{folder} has several .pt files; leave only the one to serve: {[f.name for f in files]}")
    return files[0] if files and not (folder / "config.json").is_file() else None


def load_pt(file: Path) -> Network:
    """Open a file, reading tensors only.

    Raises:
        ExportError: it is no checkpoint of openai-whisper, or not a whole one.
    """
    try:
        stored = torch.load(file, map_location="cpu", weights_only=True)
        dims, tensors = stored["dims"], stored["model_state_dict"]
        model = WhisperForConditionalGeneration(_config(dims))
        found = {_renamed(name): tensor.float() for name, tensor in tensors.items()}
        found["proj_out.weight"] = found["model.decoder.embed_tokens.weight"]
        model.load_state_dict(found)
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise ExportError(f"{file} is no whole checkpoint of openai-whisper: {error}") from error
    return Network(model.eval())


def _config(dims: dict[str, int]) -> Any:
    return WhisperConfig(
        vocab_size=dims["n_vocab"],
        num_mel_bins=dims["n_mels"],
        d_model=dims["n_audio_state"],
        encoder_layers=dims["n_audio_layer"],
        encoder_attention_heads=dims["n_audio_head"],
        encoder_ffn_dim=4 * dims["n_audio_state"],
        decoder_layers=dims["n_text_layer"],
        decoder_attention_heads=dims["n_text_head"],
        decoder_ffn_dim=4 * dims["n_text_state"],
        max_source_positions=dims["n_audio_ctx"],
        max_target_positions=dims["n_text_ctx"],
    )


def _renamed(name: str) -> str:
    for pattern, other in _RENAMED:
        name = re.sub(pattern, other, name)
    return name
