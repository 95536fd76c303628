"""The limits, each in a process of its own: CTranslate2 called directly, and transformers.

Run as ``python -m loadtests.translation.direct <way> <artefact> <folder> <seconds>``; says sentences per second. The
way ``choose`` chooses the sentences.
Knows no server.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from loadtests.translation.shape import SENTENCES, candidates, sentences
from services.tasks.translation.repetition import repeats

LANES = 2

Translate = Callable[[], object]
"""Translates all sentences once."""


def batched(artefact: Path, folder: Path) -> Translate:
    """One batch of all sentences, half on each of two lanes of one thread."""
    translator, tokens = _ctranslate2(artefact, sentences(folder), lanes=LANES, threads=1)
    halves = [tokens[number::LANES] for number in range(LANES)]
    pool = ThreadPoolExecutor(LANES)
    return lambda: list(pool.map(translator, halves))


def choose(artefact: Path, folder: Path) -> None:
    """Write ``sentences.txt``: a network of chance may repeat itself, which a server would notice and search again."""
    texts = candidates(8 * SENTENCES)
    translator, tokens = _ctranslate2(artefact, texts, lanes=1, threads=LANES)
    said = [result.hypotheses[0] for result in translator(tokens)]
    fit = [text for text, words in zip(texts, said, strict=True) if repeats([*map(hash, words)]) < 3]
    if len(fit) < SENTENCES:
        raise ValueError(f"only {len(fit)} of {len(texts)} sentences are not said again and again")
    (folder / "sentences.txt").write_text("\n".join(fit[:SENTENCES]), encoding="utf-8")


def one_by_one(artefact: Path, folder: Path) -> Translate:
    """A call per sentence, with all cores for each: as servers without batching do it."""
    translator, tokens = _ctranslate2(artefact, sentences(folder), lanes=1, threads=LANES)
    return lambda: [translator([one]) for one in tokens]


def transformers_bf16(_: Path, folder: Path) -> Translate:
    """Transformers' ``generate`` on one batch of all sentences, in bfloat16."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    model = AutoModelForSeq2SeqLM.from_pretrained(folder / "checkpoint", dtype=torch.bfloat16).eval()
    texts = AutoTokenizer.from_pretrained(folder / "checkpoint")(sentences(folder), return_tensors="pt", padding=True)

    def translate() -> object:
        with torch.inference_mode():
            return model.generate(**texts, num_beams=1, do_sample=False)

    return translate


WAYS = {"batched": batched, "one by one": one_by_one, "transformers": transformers_bf16}


def _ctranslate2(
    artefact: Path, texts: Sequence[str], *, lanes: int, threads: int
) -> tuple[Callable[[Sequence[list[str]]], Any], list[list[str]]]:
    import ctranslate2

    from services.core.codec import Codec

    model = artefact / "ct2"
    vocabulary = json.loads((model / "shared_vocabulary.json").read_text(encoding="utf-8"))
    translator = ctranslate2.Translator(str(model), inter_threads=lanes, intra_threads=threads)
    ids = Codec.load(artefact).encode(texts, "en", "de")
    return lambda batch: translator.translate_batch(list(batch), beam_size=1), [
        [vocabulary[token] for token in one] for one in ids
    ]


def rate(translate: Translate, seconds: float) -> float:
    """Sentences per second, after one pass to warm up."""
    translate()
    passes, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        translate()
        passes += 1
    return passes * SENTENCES / spent


if __name__ == "__main__":
    way, artefact, folder, seconds = sys.argv[1:]
    if way == "choose":
        choose(Path(artefact), Path(folder))
    else:
        print(json.dumps(rate(WAYS[way](Path(artefact), Path(folder)), float(seconds))))  # noqa: T201
