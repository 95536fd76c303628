"""Scores a translation model on sentence pairs: corpus BLEU and chrF, by sacrebleu, with its signatures.

BLEU: Papineni et al. 2002; Post 2018, "A Call for Clarity in Reporting BLEU Scores". chrF2: Popović 2015.
"""

import gzip
import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from services.core.evaluation import Evaluation
from services.core.pipelines import Pipeline
from services.core.schema import MAX_ITEMS
from services.tasks.translation.languages import Pair
from services.tasks.translation.pipeline import TranslatePipeline
from services.tasks.translation.schema import TranslateRequest, TranslateResponse
from services.tasks.translation.work import Output

_LANGUAGES = re.compile(r"(?:^|[._])([a-z]{2,3})-([a-z]{2,3})(?=[._])")


def evaluate(pipeline: Pipeline, data: Path, group_items: int = 1) -> Evaluation:
    """Score ``pipeline`` on a file of pairs (see `read_pairs`), greedily, in each direction that it can translate.

    Raises:
        ValueError: the file's name does not tell its languages, or the model translates between them in no direction.
    """
    translates = cast("TranslatePipeline", pipeline)
    first, second = languages_of(data)
    rows = read_pairs(data)
    directions = [pair for pair in (Pair(first, second), Pair(second, first)) if pair in translates.pairs]
    if not directions:
        raise ValueError(f"{data}: the model translates {', '.join(map(str, translates.pairs))}")
    metrics: dict[str, float] = {}
    answers: list[str] = []
    bleu, chrf = BLEU(), CHRF()
    for pair in directions:
        here, there = (0, 1) if pair.source == first else (1, 0)
        found = _translate(translates, [row[here] for row in rows], pair, group_items)
        references = [[row[there] for row in rows]]
        metrics[f"bleu {pair}"] = bleu.corpus_score(found, references).score
        metrics[f"chrf {pair}"] = chrf.corpus_score(found, references).score
        answers += found
    metrics["bleu"] = sum(metrics[f"bleu {pair}"] for pair in directions) / len(directions)
    return Evaluation(
        "bleu",
        {**metrics, "pairs": float(len(rows))},
        answers,
        (f"BLEU {bleu.get_signature()}", f"chrF {chrf.get_signature()}"),
    )


def languages_of(data: Path) -> tuple[str, str]:
    """The languages of a file's columns, from its name: ``tatoeba.en-de.dev.tsv.gz``.

    Raises:
        ValueError: they are not in it.
    """
    if not (found := _LANGUAGES.search(data.name)):
        raise ValueError(f"{data.name}: put the languages of its columns into its name, as in dev.en-de.tsv")
    return found[1], found[2]


def read_pairs(file: Path) -> list[tuple[str, str]]:
    """Pairs of ``text<TAB>text`` lines; may be gzipped.

    Raises:
        ValueError: a line has no two texts; names the line.
    """
    opener = gzip.open if file.suffix == ".gz" else open
    rows: list[tuple[str, str]] = []
    with opener(file, "rt", encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            one, _, other = line.rstrip("\r\n").partition("\t")
            if not one.strip() or not other.strip() or "\t" in other:
                raise ValueError(f"{file}, line {number}: expected two texts with a tab between")
            rows.append((one, other))
    if not rows:
        raise ValueError(f"{file}: no pairs")
    return rows


def _translate(pipeline: TranslatePipeline, texts: Sequence[str], pair: Pair, group_items: int) -> list[str]:
    """Translations in order; sentences of alike length share runs."""
    starts = range(0, len(texts), MAX_ITEMS)
    return [
        found for start in starts for found in _answers(pipeline, texts[start : start + MAX_ITEMS], pair, group_items)
    ]


def _answers(pipeline: TranslatePipeline, texts: Sequence[str], pair: Pair, group_items: int) -> list[str]:
    request = TranslateRequest(text=tuple(texts), source=pair.source, target=pair.target, beam_size=1)
    items = pipeline.prepare(request)
    order = sorted(range(len(items)), key=lambda index: items[index].cost)  # alike lengths pad little
    outputs: dict[int, Output] = {}
    for start in range(0, len(order), group_items):
        group = order[start : start + group_items]
        outputs.update(zip(group, pipeline.run([items[index].payload for index in group]), strict=True))
    response: TranslateResponse = pipeline.finish(request, items, [outputs[index] for index in range(len(items))])
    return [result.translation for result in response.results]
