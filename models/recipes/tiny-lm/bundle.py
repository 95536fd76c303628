"""What was learned -> the bundled folders: the base in bfloat16, adapters in PEFT's format."""

import json
from pathlib import Path

import torch
from corpus import END, START
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM
from vocabulary import CHAT_TEMPLATE, with_start

NAME = Path(__file__).resolve().parent.name


def write_base(network: LlamaForCausalLM, tokenizer: Tokenizer, target: Path) -> None:
    """A folder that transformers reads: weights, configuration, tokenizer and chat template."""
    network.to(torch.bfloat16).save_pretrained(target)
    with_start(tokenizer).save(str(target / "tokenizer.json"))
    described = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "model_max_length": network.config.max_position_embeddings,
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }
    _write_json(target / "tokenizer_config.json", described)


def write_adapter(adapted: PeftModel, target: Path) -> None:
    """``adapter_config.json`` and ``adapter_model.safetensors``; the base by name, not by path."""
    target.mkdir(parents=True, exist_ok=True)
    config = adapted.peft_config["default"].to_dict()
    config |= {
        "base_model_name_or_path": NAME,
        "target_modules": sorted(config["target_modules"]),
        "inference_mode": True,
    }
    _write_json(target / "adapter_config.json", {name: _plain(value) for name, value in config.items()})
    weights = get_peft_model_state_dict(adapted)
    save_file(
        {name: weight.to(torch.bfloat16).contiguous() for name, weight in weights.items()},
        target / "adapter_model.safetensors",
    )


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, set) else value


def _write_json(file: Path, content: object) -> None:
    file.write_text(
        json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True, default=str) + "\n", encoding="utf-8"
    )
