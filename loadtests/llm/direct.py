"""What is to be beaten, each in a process of its own: transformers and peft, called directly.

Run as ``python -m loadtests.llm.direct <way> <folder>``; says new tokens per second. Knows no server.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loadtests.llm.shape import ADAPTERS, NEW_TOKENS, prompts

BATCH = 16

Generate = Callable[[int], int]
"""Generates once, for prompts of this seed; returns how many tokens."""


def static(folder: Path) -> Generate:
    """``generate`` on one batch of 16."""
    return _generate(_model(folder), folder, BATCH)


def one_at_a_time(folder: Path) -> Generate:
    """``generate`` on one prompt."""
    return _generate(_model(folder), folder, 1)


def mixed_adapters(folder: Path) -> Generate:
    """peft: a batch of 16 over four adapters and the base."""
    from peft import PeftModel

    model = PeftModel.from_pretrained(_model(folder), folder / "adapter-0", adapter_name="0")
    for number in range(1, ADAPTERS):
        model.load_adapter(folder / f"adapter-{number}", adapter_name=str(number))
    names = ["__base__", *map(str, range(ADAPTERS))]
    return _generate(model.eval(), folder, BATCH, adapter_names=[names[place % len(names)] for place in range(BATCH)])


def continuous(folder: Path) -> Generate:
    """Transformers' own continuous batching, 16 prompts."""
    from transformers import GenerationConfig

    model = _model(folder)
    config = GenerationConfig(max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=-1, pad_token_id=0)

    def generate(seed: int) -> int:
        found = model.generate_batch(_ids(folder, BATCH, seed), generation_config=config, progress_bar=False)
        return sum(len(one.generated_tokens) for one in found.values())

    return generate


WAYS = {
    "static": static,
    "one at a time": one_at_a_time,
    "mixed adapters": mixed_adapters,
    "continuous": continuous,
}


def _model(folder: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder / "checkpoint", dtype=torch.bfloat16).eval()


def _ids(folder: Path, count: int, seed: int) -> list[list[int]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "checkpoint" / "tokenizer.json"))
    return [found.ids for found in tokenizer.encode_batch(prompts(count, seed))]


def _generate(model: Any, folder: Path, count: int, **options: Any) -> Generate:
    import torch

    def generate(seed: int) -> int:
        ids = torch.tensor(_ids(folder, count, seed))
        with torch.inference_mode():
            found = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=NEW_TOKENS,
                min_new_tokens=NEW_TOKENS,
                do_sample=False,
                pad_token_id=0,
                **options,
            )
        return int(found.numel() - ids.numel())

    return generate


def rate(generate: Generate, seconds: float) -> float:
    """Tokens per second, after one go to warm up."""
    generate(0)
    tokens, seed, started = 0, 1, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        tokens += generate(seed)
        seed += 1
    return tokens / spent


if __name__ == "__main__":
    way, folder, seconds = sys.argv[1:]
    print(json.dumps(rate(WAYS[way](Path(folder)), float(seconds))))  # noqa: T201
