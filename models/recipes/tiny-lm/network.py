"""The network and its adapters. Knows nothing of texts or of how they learn."""

from pathlib import Path

import torch
from config import AdaptersConfig, NetworkConfig
from corpus import END, START
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer
from transformers import LlamaConfig, LlamaForCausalLM


def fresh(config: NetworkConfig, tokenizer: Tokenizer) -> LlamaForCausalLM:
    """A network that has learned nothing."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=tokenizer.get_vocab_size(),
            hidden_size=config.width,
            intermediate_size=config.feed_forward,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.heads,
            max_position_embeddings=config.context,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.token_to_id(START),
            eos_token_id=tokenizer.token_to_id(END),
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        )
    )


def as_bundled(folder: Path) -> LlamaForCausalLM:
    """The weights as they were bundled, to compute with in fp32."""
    network: LlamaForCausalLM = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return network


def with_adapter(network: LlamaForCausalLM, config: AdaptersConfig) -> PeftModel:
    """The network, of which only a new adapter on every linear layer learns."""
    lora = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    adapted: PeftModel = get_peft_model(network, lora)
    return adapted
