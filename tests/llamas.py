"""Small random Llamas, saved as a hub repository would hold them; their vocabulary is a real one of few words."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from services.core.catalog import ModelSpec
from tests.checkpoints import sentences

CONTEXT = 128


def llama(folder: Path, **config: object) -> LlamaForCausalLM:
    """Make one and save it."""
    folder.mkdir(exist_ok=True)
    vocabulary = _tokenizer()
    vocabulary.save(str(folder / "tokenizer.json"))
    sizes = {
        "vocab_size": vocabulary.get_vocab_size(),
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "initializer_range": 0.1,  # continuations that differ from prompt to prompt
    }
    torch.manual_seed(5)
    network = LlamaForCausalLM(LlamaConfig(**sizes | config)).eval()
    network.save_pretrained(folder)
    return network


def _tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences(200), trainer)
    return tokenizer


def llama_spec(folder: Path, architecture: str = "causal-lm", **fields: object) -> ModelSpec:
    """A catalog entry of what is in a folder."""
    entry = {
        "task": "llm",
        "name": "tiny",
        "description": "",
        "engine": "genai",
        "architecture": architecture,
        "sources": {"weights": {"uri": f"path:{folder}"}},
        "max_tokens": CONTEXT,
        "licence": "none",
    }
    return ModelSpec.model_validate(entry | fields)
