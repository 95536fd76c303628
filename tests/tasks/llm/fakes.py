"""Artefact folders of both kinds of tokenizers, and a model whose every logit is known."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from services.core.catalog import ModelSpec
from services.core.engine import GeneratorLimits
from services.core.generation.records import Generation, Row
from services.core.generation.sampling import Sampler
from services.tasks.llm.pipeline import GeneratePipeline
from services.tasks.llm.reading import Delta
from services.tasks.llm.schema import GeneratePart, GenerateRequest, GenerateResponse

BOS, END, IM_START, IM_END = 0, 1, 2, 3
SPECIALS = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]
SIZE = 400
"""Logits of the model: more than there are tokens, as models pad them."""

KINDS = ("byte-level", "sentencepiece")

SPEC = ModelSpec(task="llm", name="tiny", description="", engine="fake", max_tokens=4096, licence="none")

Scores = Callable[[Sequence[int]], Row]


def byte_level() -> Tokenizer:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(SPECIALS + letters)}
    merges = [("Ġ", "a"), ("h", "e"), ("l", "l"), ("he", "ll"), ("{", '"'), ("ã", "ģ")]  # the last: part of a kana
    vocabulary |= {one + other: len(vocabulary) + place for place, (one, other) in enumerate(merges)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return finished(tokenizer)


def sentencepiece() -> Tokenizer:
    tokens = [*SPECIALS, "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    tokens += [chr(code) for code in range(33, 127)] + ["é", "の"]
    merges = [("▁", "a"), ("h", "e"), ("l", "l"), ("he", "ll"), ("▁", "hell"), ("{", '"')]
    tokens += [one + other for one, other in merges]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    return finished(tokenizer)


def finished(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIALS])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", BOS)])
    return tokenizer


def artefact(folder: Path, kind: str, **files: Any) -> Path:
    """A folder with a tokenizer, and ``config``, ``generation_config`` and ``tokenizer_config`` as given."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = byte_level() if kind == "byte-level" else sentencepiece()
    tokenizer.enable_truncation(8)  # as published files may have
    tokenizer.save(str(folder / "tokenizer.json"))
    defaults = {"config": {"eos_token_id": END}, "tokenizer_config": {"bos_token": "<s>", "eos_token": "</s>"}}
    for name, content in (defaults | files).items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


class Model:
    """Of a generator, what the pipeline sees; and logits as a function of the tokens so far."""

    def __init__(self, scores: Scores, context: int = 2048) -> None:
        self.scores = scores
        self.limits = GeneratorLimits(context, SIZE, sequences=4, blocks=context, block_tokens=16)
        self.closed = False

    def close(self) -> None:
        self.closed = True


def random_scores(tokens: Sequence[int]) -> Row:
    """Anything, but the same for the same tokens."""
    return np.random.default_rng(list(tokens)).standard_normal(SIZE).astype(np.float32)


def saying(ids: Sequence[int], prompt: int) -> Scores:
    """Logits of a model that says just these, then goes on with ends."""

    def scores(tokens: Sequence[int]) -> Row:
        place = len(tokens) - prompt
        row = np.zeros(SIZE, np.float32)
        row[ids[place] if place < len(ids) else END] = 50
        return row

    return scores


def run(generation: Generation, scores: Scores, cached: int = 0) -> list[Delta]:
    """What a continuous batcher does for one sequence."""
    sampler = Sampler(generation.sampling, generation.prompt, SIZE)
    reader, constraint = generation.reader(cached), generation.constraint and generation.constraint()
    tokens, deltas = list(generation.prompt), []
    for _ in range(generation.max_tokens):
        row = scores(tokens)
        if constraint:
            constraint.mask(row)
        token = sampler.choose(row)
        if constraint:
            constraint.accept(token.id)
        tokens.append(token.id)
        deltas.append(reader.read(token))
        if reader.finished:
            break
    else:
        deltas.append(reader.cut())
    return [delta for delta in deltas if delta is not None]


def ask(pipeline: GeneratePipeline, **fields: Any) -> tuple[GenerateResponse, list[GeneratePart]]:
    """An answer, and its parts."""
    request = GenerateRequest(**fields)
    items = pipeline.prepare(request)
    outputs = [run(item.payload, pipeline.generator.scores) for item in items]  # type: ignore[attr-defined]
    parts = [pipeline.part(request, items, number, delta) for number, own in enumerate(outputs) for delta in own]
    return pipeline.finish(request, items, outputs), parts
