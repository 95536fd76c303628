"""Encoder-decoders on CTranslate2: the fast engine on a CPU.

Reads ``ct2/`` and ``decoder.json`` of an artefact. Never share a serving process with torch: both set the threads of
one OpenMP runtime, and torch then runs several times slower.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Self

import ctranslate2
import numpy as np
from numpy.typing import NDArray

from services.core.engine import Decoding, EngineOptions, Hypothesis, Seq2SeqInput
from services.engines.decoder import DecoderSettings
from services.engines.search import ranked


class CTranslate2Seq2Seq:
    """One translator with a worker per lane; calls that come at the same time run at the same time."""

    def __init__(self, translator: ctranslate2.Translator, decoder: DecoderSettings, vocabulary: list[str]) -> None:
        self._translator: ctranslate2.Translator | None = translator
        self._decoder = decoder
        self._vocabulary = vocabulary
        self._ids = {token: number for number, token in enumerate(vocabulary)}
        # A token that the vocabulary lacks (Marian's padding) cannot be written anyway.
        self._never = [[vocabulary[token]] for token in decoder.never if token < len(vocabulary)] or None

    @classmethod
    def load(cls, artefact: Path, options: EngineOptions) -> Self:
        """Open ``ct2/``; it computes in the precision it was written in."""
        folder = artefact / "ct2"
        translator = ctranslate2.Translator(
            str(folder),
            device="cuda" if options.providers[0].startswith("CUDA") else "cpu",
            inter_threads=options.lanes,
            intra_threads=options.threads,
        )
        vocabulary = json.loads((folder / "shared_vocabulary.json").read_text(encoding="utf-8"))
        return cls(translator, DecoderSettings.load(artefact), vocabulary)

    def run(self, batch: Sequence[Seq2SeqInput], decoding: Decoding) -> list[tuple[Hypothesis, ...]]:
        """One batch, searched together up to its largest ``max_tokens``; each item is then cut to its own."""
        if self._translator is None:
            raise RuntimeError("the engine is closed")
        if not (batch := self._decoder.within(batch)):
            return []
        # In a batch, CTranslate2's beams report a wrong row for the decoder's first step (4.8.5): it is used only if
        # that step writes the prefix.
        reported = decoding.beam_size == 1 or all(self._given(item) for item in batch)
        results = self._translator.translate_batch(
            [self._tokens(item.source) for item in batch],
            [self._tokens(item.prefix) for item in batch],
            beam_size=decoding.beam_size,
            num_hypotheses=decoding.hypotheses,
            no_repeat_ngram_size=decoding.no_repeat_ngram,
            # It counts prefix and end; an end that comes after the last token allowed is still its own end.
            max_decoding_length=max(self._given(item) + item.max_tokens for item in batch) + 1,
            min_decoding_length=0,
            max_input_length=0,  # cut nothing: limits are the pipeline's
            suppress_sequences=self._never,
            return_scores=True,
            return_attention=decoding.attention and reported,
            return_end_token=True,
        )
        found = [self._hypotheses(item, result) for item, result in zip(batch, results, strict=True)]
        found = self._scored(self._translator, batch, found)
        return found if reported or not decoding.attention else self._attended(self._translator, batch, found)

    def close(self) -> None:
        """Drop the model. Pipelines may share an engine, so it may be closed more than once."""
        self._translator = None

    def _tokens(self, ids: Sequence[int]) -> list[str]:
        return [self._vocabulary[token] for token in ids]

    def _hypotheses(self, item: Seq2SeqInput, result: Any) -> tuple[Hypothesis, ...]:
        attention = result.attention or [None] * len(result.hypotheses)
        rows = zip(result.hypotheses, result.scores, attention, strict=True)
        return tuple(self._hypothesis(item, *row) for row in rows)

    def _hypothesis(self, item: Seq2SeqInput, tokens: list[str], score: float, attention: Any) -> Hypothesis:
        given = self._given(item)
        ids = [self._ids[token] for token in tokens[given:]]
        ended = ids[-1:] == [self._decoder.end]
        kept = ids[: len(ids) - ended][: item.max_tokens]
        if attention is not None:
            attention = _rows(attention, item, given, len(kept))
        # The mean that CTranslate2 gives is over the prefix too, which was not chosen and adds nothing to the sum.
        mean = score * len(tokens) / max(1, len(ids))
        return Hypothesis(tuple(kept), min(0.0, mean), ended and len(kept) == len(ids) - 1, attention)

    def _given(self, item: Seq2SeqInput) -> int:
        """How many tokens of a result are its prefix: where that starts the decoder, its first token is left out."""
        return len(item.prefix) - (self._decoder.start is None)

    def _scored(
        self, translator: ctranslate2.Translator, batch: Sequence[Seq2SeqInput], found: list[tuple[Hypothesis, ...]]
    ) -> list[tuple[Hypothesis, ...]]:
        """Score anew what was cut: its mean is over tokens that are gone."""
        cut = [(item, one) for item, several in zip(batch, found, strict=True) for one in several if not one.finished]
        sources = [self._tokens(item.source) for item, _ in cut]
        targets = [self._tokens((*item.prefix, *one.tokens)) for item, one in cut]
        scores = translator.score_batch(sources, targets, max_input_length=0) if cut else []
        means = {id(one): _mean(score.log_probs, one) for (_, one), score in zip(cut, scores, strict=True)}
        return [ranked(replace(one, score=means.get(id(one), one.score)) for one in several) for several in found]

    def _attended(
        self, translator: ctranslate2.Translator, batch: Sequence[Seq2SeqInput], found: list[tuple[Hypothesis, ...]]
    ) -> list[tuple[Hypothesis, ...]]:
        """Go through the hypotheses once more, each given as a prefix, to see what they attend to."""
        pairs = [(item, one) for item, several in zip(batch, found, strict=True) for one in several]
        targets = [self._tokens((*item.prefix, *one.tokens)) for item, one in pairs]
        results = translator.translate_batch(
            [self._tokens(item.source) for item, _ in pairs],
            targets,
            beam_size=1,
            max_decoding_length=1 + max(map(len, targets)),
            max_input_length=0,
            return_attention=True,
        )
        seen = iter(
            replace(one, attention=_rows(result.attention[0], item, self._given(item), len(one.tokens)))
            for (item, one), result in zip(pairs, results, strict=True)
        )
        return [tuple(islice(seen, len(several))) for several in found]


def _rows(attention: Any, item: Seq2SeqInput, first: int, count: int) -> NDArray[np.float32]:
    """``count`` rows of weights over the source, from row ``first``."""
    return np.array(attention, dtype=np.float32).reshape(-1, len(item.source))[first : first + count]


def _mean(log_probs: Sequence[float], hypothesis: Hypothesis) -> float:
    """Of its own tokens; before them are those of the prefix, after them an end that it does not have."""
    count = len(hypothesis.tokens)
    return min(0.0, float(np.mean(log_probs[-count - 1 : -1]))) if count else 0.0
