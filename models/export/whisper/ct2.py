"""A network -> ``model.bin``, ``vocabulary.json`` and ``config.json`` of CTranslate2, in the precision of the spec.

CTranslate2's own loader reads the layers of a live model; what it needs to know of tokens is written here. Its int8 is
symmetric with a scale per row; activations are quantized row by row when the model runs, so nothing has to be
calibrated and an item does not depend on its batch. (On CPUs, ``encoder`` takes the place of its encoder.)
"""

import json
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.export.whisper.text import Text
from services.core.catalog import Precision

if TYPE_CHECKING:
    from models.export.whisper.checkpoint import Network

TYPES = {Precision.FP32: "float32", Precision.INT8: "int8"}
"""What CTranslate2 calls them."""


def write_weights(network: "Network", text: Text, precision: Precision, target: Path) -> None:
    """Write the model; the network's own weights may be changed by it."""
    import torch
    from ctranslate2.converters.transformers import WhisperLoader

    with torch.no_grad():
        spec = WhisperLoader().get_model_spec(network.model)
    spec.register_vocabulary(text.vocabulary)
    spec.validate()
    spec.optimize(quantization=TYPES[precision])
    spec.save(str(target))
    config = network.model.config
    told = {
        "suppress_ids": network.suppressed,
        "suppress_ids_begin": network.suppressed_first,
        "alignment_heads": network.alignment_heads
        or _later_half(config.decoder_layers, config.decoder_attention_heads),
    }
    write_config(told, text, target)


def write_config(told: dict[str, Any], text: Text, target: Path) -> None:
    """What CTranslate2 reads beside the weights: what a checkpoint tells, and what it leaves to be known.

    Languages are those of the spec: no other one is ever detected.
    """
    kept = {
        "suppress_ids": told.get("suppress_ids") or text.suppressed(),
        "suppress_ids_begin": told.get("suppress_ids_begin") or text.suppressed_first(),
        "alignment_heads": told.get("alignment_heads"),
        "lang_ids": sorted(text.languages.values()),
    }
    known = {name: value for name, value in kept.items() if value is not None}
    (target / "config.json").write_text(json.dumps(told | known, indent=1), encoding="utf-8")


def _later_half(layers: int, heads: int) -> list[list[int]]:
    """Heads whose attention is taken for word times where nobody has looked for the best ones."""
    return [list(pair) for pair in product(range(layers // 2, layers), range(heads))]
