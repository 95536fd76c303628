"""What a decoder found -> what was said: words with times, their probabilities, other texts."""

import math
import re
from collections.abc import Iterable, Mapping

from services.core.speech import Alternative, Recognition, Recognized, Segment, Word
from services.engines.pocketsphinx.decoder import FRAMES, Alternate, Decoded, Piece
from services.engines.pocketsphinx.keywords import probability

_LANGUAGE = "en"
_FILLER = re.compile(r"[<\[(]")
"""Silence, noise, the beginning and the end; leaps of a grammar."""
_PRONUNCIATION = re.compile(r"\(\d+\)$")
_FLATTENED = 20.0
"""By what the library divides logarithms of paths where it makes probabilities of them (``ascale``): frames are not as
independent of each other as the model has it."""
_UNFIT = -8.0
"""Mean natural logarithm of a frame's likelihood, against the sound that fits best, below which a word was not said:
chosen on LJSpeech and FSDD (see the card of ``sphinx-en``)."""
_NEVER = 1e-9
"""A posterior of nothing has no logarithm."""


def spoken(decoded: Decoded, recognition: Recognition) -> Recognized:
    """One segment of all words, from the first to the last; none if there are none. Probabilities are posteriors."""
    words = tuple(_word(piece, math.exp(min(0.0, piece.logarithm))) for piece in _said(decoded))
    if not words:
        return Recognized((), _LANGUAGE)
    segment = _segment(words, recognition)
    others = _alternatives(segment, decoded.paths)[: recognition.hypotheses - 1]
    return Recognized((segment,), _LANGUAGE, alternatives=others)


def allowed(decoded: Decoded, recognition: Recognition) -> Recognized:
    """One segment of all words of a grammar; none if one of them does not sound like what was said.

    The search finds the likeliest that can be said, however unlikely; a posterior among what can be said is no better.
    So a word's probability is a logistic curve of how well its frames fit, a half at what is just taken.
    """
    words = tuple(_word(piece, _fitting(piece)) for piece in _said(decoded))
    if not words or min(word.probability for word in words) < 0.5:
        return Recognized((), _LANGUAGE)
    return Recognized((_segment(words, recognition),), _LANGUAGE)


def _said(decoded: Decoded) -> list[Piece]:
    return [piece for piece in decoded.pieces if not _FILLER.match(piece.text)]


def _fitting(piece: Piece) -> float:
    fit = piece.acoustic / (piece.end - piece.start)
    return 1 / (1 + math.exp(min(50.0, _UNFIT - fit)))


def spotted(decoded: Decoded, thresholds: Mapping[str, float], recognition: Recognition) -> Recognized:
    """A segment for each phrase heard, in order of their beginnings; a phrase is one "word", with the spaces in it."""
    hits = sorted(decoded.pieces, key=lambda piece: (piece.start, piece.end))
    words = (_word(hit, probability(hit.logarithm, thresholds[hit.text])) for hit in hits)
    return Recognized(tuple(_segment((word,), recognition) for word in words), _LANGUAGE)


def _word(piece: Piece, sure: float) -> Word:
    return Word(_PRONUNCIATION.sub("", piece.text), piece.start / FRAMES, piece.end / FRAMES, sure)


def _segment(words: tuple[Word, ...], recognition: Recognition) -> Segment:
    text = " ".join(word.text for word in words)
    score = sum(math.log(max(_NEVER, word.probability)) for word in words) / len(words)
    return Segment(text, words[0].start, words[-1].end, score, words if recognition.word_times else ())


def _alternatives(best: Segment, paths: Iterable[Alternate]) -> tuple[Alternative, ...]:
    """Other texts, best first.

    Their words have no posteriors. A score is that of the best text, less what the path is worse by: a natural
    logarithm, flattened as those of posteriors are, and per word.
    """
    by_text = {path.text: path.logarithm for path in paths}
    if not by_text:
        return ()
    top = by_text.pop(best.text, max(by_text.values()))
    found = [
        Alternative(text, best.score + min(0.0, logarithm - top) / _FLATTENED / len(text.split()))
        for text, logarithm in by_text.items()
    ]
    return tuple(sorted(found, key=lambda alternative: -alternative.score))
