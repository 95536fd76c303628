"""A Llama of 110 M parameters with random weights, a tokenizer with a token per letter, four adapters, and prompts.

Its speed is that of a trained one; what it says means nothing. Run as a module it writes them into a folder, so that
no process under test makes them.
"""

import json
import random
import string
import sys
from itertools import islice, product
from pathlib import Path

VOCABULARY = 32_000
PROMPT_TOKENS, NEW_TOKENS = 64, 64
ADAPTERS = 4
RANK = 8


def prompts(count: int, seed: int) -> list[str]:
    """Random letters; a token each, behind that of the beginning."""
    rng = random.Random(seed)  # noqa: S311  # the same ones each time
    return ["".join(rng.choices(string.ascii_lowercase, k=PROMPT_TOKENS - 1)) for _ in range(count)]


def write(folder: Path) -> None:
    """``checkpoint/`` as a hub repository would have it, and ``adapter-0`` and so on as peft saves them."""
    _write_network(folder)
    _write_tokenizer(folder / "checkpoint")


def _write_network(folder: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=768,
        intermediate_size=2048,
        num_hidden_layers=12,
        num_attention_heads=12,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder / "checkpoint")
    for number in range(ADAPTERS):
        adapted = get_peft_model(LlamaForCausalLM(config), LoraConfig(r=RANK, target_modules="all-linear"))
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02)
        adapted.save_pretrained(folder / f"adapter-{number}")


def _write_tokenizer(target: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = ("".join(word) for word in product(string.ascii_lowercase, repeat=4))
    tokens = ["<s>", "</s>", *letters, *islice(words, VOCABULARY - 2 - len(letters))]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in ("<s>", "</s>")])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    tokenizer.save(str(target / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (target / "tokenizer_config.json").write_text(json.dumps(config))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
