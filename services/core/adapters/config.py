"""What ``adapter_config.json`` may say: plain LoRA, as every engine computes it.

PEFT knows many variants that share LoRA's tensors but not its arithmetic. An adapter of one of those would load and
answer wrongly, so each is refused by what turns it on.
"""

import math
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from services.core.errors import Code, ServingError, invalid

CONFIG = "adapter_config.json"

_VARIANTS = {
    "use_dora": "DoRA",
    "use_qalora": "QA-LoRA",
    "use_bdlora": "BD-LoRA",
    "alora_invocation_tokens": "activated LoRA",
    "arrow_config": "Arrow routing",
    "kasa_config": "KaSA",
    "monteclora_config": "MonteCLoRA",
    "velora_config": "VeLoRA",
    "lora_bias": "a bias in its matrices",
    "modules_to_save": "whole modules of its own",
    "trainable_token_indices": "tokens of its own",
    "target_parameters": "changes to bare parameters",
    "layer_replication": "repeated layers",
    "rank_pattern": "a rank for each module",
    "alpha_pattern": "an alpha for each module",
}
"""Fields that must be empty or false, and what they stand for."""

_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""How matrices may have begun. Other ways (PiSSA, OLoRA, ...) change the weights of the base as well."""


class LoraConfig(BaseModel):
    """The fields that matter; the rest is how it was trained."""

    model_config = ConfigDict(frozen=True, extra="allow")

    peft_type: Literal["LORA"]
    r: int = Field(ge=1)
    lora_alpha: float = Field(gt=0, allow_inf_nan=False)
    use_rslora: bool = False
    bias: Literal["none"] = "none"
    init_lora_weights: bool | str | None = True
    base_model_name_or_path: str | None = None

    @property
    def scaling(self) -> float:
        """What the product of the matrices is multiplied by."""
        return self.lora_alpha / (math.sqrt(self.r) if self.use_rslora else self.r)


def read_config(folder: Path) -> LoraConfig:
    """The config of the adapter in this folder.

    Raises:
        ServingError: INVALID_ARGUMENT; it is not that of a plain LoRA adapter.
    """
    try:
        config = LoraConfig.model_validate_json((folder / CONFIG).read_bytes())
    except ValidationError as error:
        raise ServingError(
            Code.INVALID_ARGUMENT, f"{CONFIG}: {invalid(error, CONFIG).message}; give a LoRA adapter.", "path"
        ) from error
    for field, what in _VARIANTS.items():
        if (config.model_extra or {}).get(field):
            raise _unlike(f"{field} ({what}) is not supported; train without it")
    if config.init_lora_weights not in _STARTS:
        raise _unlike("init_lora_weights changes the base too; save the adapter converted to plain LoRA")
    return config


def _unlike(sentence: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, f"{CONFIG}: {sentence}.", "path")
