"""Phrases to spot, and how sure the decoder must be of each.

A phrase is heard where its likelihood, against that of any phones, is above a threshold: a short one sounds like parts
of much that is said, so it must be the better the shorter it is. The line was chosen on LJSpeech, for about ten false
alarms per phrase in an hour of speech that is not about it (see the card of ``sphinx-en``).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from services.core.errors import Code, ServingError
from services.engines.pocketsphinx.dictionary import Dictionary

MOST = 100
"""Phrases in a request."""
LONGEST = 10
"""Words in a phrase."""

_FIELD = "keywords"
_PER_PHONE, _NEUTRAL = 12.0, 5.5
_LEAST, _GREATEST = -100.0, 20.0
"""Natural logarithms."""
_SLOPE, _AT_THRESHOLD = 0.044, 0.97
_SCALE = 1024
_SHIFT = 1500 * _SCALE * math.log(1.0001)
"""``KWS_MAX`` of the library, in units of its logarithms, whose base is 1.0001."""


@dataclass(frozen=True, slots=True)
class Keyphrase:
    """Words in lower case, with a space between, and the natural logarithm of the ratio that they must reach."""

    text: str
    threshold: float


def keyphrases(phrases: Iterable[str], dictionary: Dictionary) -> tuple[Keyphrase, ...]:
    """Each phrase once; case does not matter.

    Raises:
        ServingError: INVALID_ARGUMENT; too many, one is empty or too long, or a word is not in the dictionary.
    """
    found = {" ".join(words): words for words in (phrase.lower().split() for phrase in phrases)}
    if len(found) > MOST:
        raise _refused(f"{len(found)} phrases; at most {MOST} can be spotted")
    if "" in found:
        raise _refused("a phrase is empty; leave it out")
    if too_long := next((words for words in found.values() if len(words) > LONGEST), None):
        raise _refused(f"a phrase has {len(too_long)} words; at most {LONGEST} can be spotted")
    dictionary.check(dict.fromkeys(word for words in found.values() for word in words), _FIELD)
    return tuple(Keyphrase(text, _threshold(dictionary.length(words))) for text, words in found.items())


def keyword_file(phrases: Iterable[Keyphrase]) -> str:
    """As the library reads it."""
    return "".join(f"{phrase.text} /{math.exp(phrase.threshold):.6e}/\n" for phrase in phrases)


def probability(logarithm: float, threshold: float) -> float:
    """That a phrase was said where it was heard: a logistic curve through what was right and wrong on LJSpeech.

    Args:
        logarithm: as the library gives it, shifted and on another scale.
        threshold: of the phrase.
    """
    ratio = logarithm * _SCALE + _SHIFT
    return 1 / (1 + math.exp(-(_SLOPE * (ratio - threshold) + _AT_THRESHOLD)))


def _threshold(phones: int) -> float:
    return min(_GREATEST, max(_LEAST, _PER_PHONE * (_NEUTRAL - phones)))


def _refused(reason: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, f"{_FIELD}: {reason}", _FIELD)
