"""Random checkpoints of the real families, too small to know anything."""

import json
from pathlib import Path

import torch
from transformers import (
    AutoModelForCTC,
    HubertConfig,
    PreTrainedConfig,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    WavLMConfig,
)

LETTERS = "ETAONIHSRDLUMWCFGYPBVK'XJQZ"
TOKENS = ("<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS)

_SMALL = {
    "vocab_size": len(TOKENS),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
_LARGE_KIND = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}

CONFIGS: dict[str, PreTrainedConfig] = {
    "base": Wav2Vec2Config(**_SMALL),
    "large": Wav2Vec2Config(**_SMALL, **_LARGE_KIND),
    "hubert": HubertConfig(**_SMALL),
    "wavlm": WavLMConfig(**_SMALL, num_buckets=32, max_bucket_distance=80),
}
"""By kind: with a group norm over time, as wav2vec2-base has it, with layer norms, as wav2vec2-large; relatives."""


def checkpoint(folder: Path, config: PreTrainedConfig, seed: int = 3, tokens: tuple[str, ...] = TOKENS) -> Path:
    """A network that answers differently from input to input, its tokenizer, and what prepares its waveform."""
    folder.mkdir(parents=True)
    torch.manual_seed(seed)
    model = AutoModelForCTC.from_config(config)
    with torch.no_grad():
        model.lm_head.weight.normal_(0, 0.5)  # as drawn, all tokens are about as likely, everywhere
    model.save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    Wav2Vec2CTCTokenizer(str(folder / "vocab.json")).save_pretrained(folder)
    masked = getattr(config, "feat_extract_norm", "group") == "layer"
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=masked).save_pretrained(folder)
    return folder
