"""A sentence -> what a model is given of it, and the model's translation -> the sentence's.

Kept pieces travel as holders: private-use characters the model was taught to copy. A model that was taught none is
shown what is kept, and has to repeat it. Either way the model is not trusted: `restore` takes its translation only if
everything kept is in it. Knows no model.
"""

import html
import re
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence

from services.tasks.translation.text.keeping import PRIVATE
from services.tasks.translation.text.parts import Kept, Sentence
from services.tasks.translation.text.spacing import respaced, spread

_HOLDER = re.compile(f"[{PRIVATE}]")
_Place = tuple[int, int, int]
"""Start and end in a translation, and the index of what is kept there."""


def hide(sentence: Sentence, holders: Sequence[str]) -> str:
    """What a model is given: each kept piece replaced by its holder, or with no ``holders`` by its own text.

    Tags are set apart by spaces, so that they do not change how the words they touch are read. White space around the
    sentence is left out.

    Raises:
        ValueError: more pieces are kept than there are holders; see `cut_to_holders`.
    """
    texts = [kept.text for kept in sentence.kept]
    if holders:
        if len(texts) > len(holders):
            raise ValueError(f"{len(texts)} kept pieces and {len(holders)} holders")
        texts = list(holders[: len(texts)])
    return "".join(spread(sentence, texts)).strip()


def restore(translation: str, sentence: Sentence, holders: Sequence[str]) -> str | None:
    """The translation as it goes into the document: all that is kept in its place, words escaped if it is HTML.

    White space around the sentence and next to what is kept is set as in the source. ``holders`` are those of `hide`.

    Returns:
        None if anything kept is missing, doubled, or (tags) in another order, or if a holder is in it that was not in
        the source.
    """
    kept = sentence.kept
    places = list(_by_holder(translation, holders) if holders else _by_text(translation, kept))
    found = [index for _, _, index in places]
    if sorted(found) != list(range(len(kept))):
        return None
    tags = [index for index in found if kept[index].tag]
    if tags != sorted(tags):
        return None
    words = _between(translation, places)
    if holders and any(_is_repeated(piece, words) for piece in kept):
        return None
    words = respaced(words, found, sentence)
    if sentence.markup:
        words = [html.escape(each, quote=False) for each in words]
    outputs = [kept[index].output for index in found]
    return "".join([words[0], *(part for pair in zip(outputs, words[1:], strict=True) for part in pair)])


def _by_holder(translation: str, holders: Sequence[str]) -> Iterator[_Place]:
    indices = {holder: index for index, holder in enumerate(holders)}
    for match in _HOLDER.finditer(translation):
        yield *match.span(), indices.get(match.group(), -1)


def _by_text(translation: str, kept: Sequence[Kept]) -> Iterator[_Place]:
    waiting: defaultdict[str, deque[int]] = defaultdict(deque)
    for index, piece in enumerate(kept):
        waiting[piece.text].append(index)
    for match in _any_of(list(waiting)).finditer(translation):
        same = waiting.get(match.group())
        yield *match.span(), same.popleft() if same else -1


def _any_of(texts: Sequence[str]) -> re.Pattern[str]:
    """Any of the texts where it is not part of a longer word or number, or a private-use character."""
    longest_first = sorted(filter(None, texts), key=len, reverse=True)
    return re.compile("|".join([*map(_standing_alone, longest_first), f"[{PRIVATE}]"]))


def _standing_alone(text: str) -> str:
    before, after = (_alike(text[0]), _alike(text[-1]))
    return (f"(?<!{before})" if before else "") + re.escape(text) + (f"(?!{after})" if after else "")


def _alike(char: str) -> str:
    return r"\d" if char.isdigit() else r"[^\W\d_]" if char.isalpha() else ""


def _between(translation: str, places: Sequence[_Place]) -> list[str]:
    ends = [0, *(end for _, end, _ in places)]
    starts = [*(start for start, _, _ in places), len(translation)]
    return [translation[end:start] for end, start in zip(ends, starts, strict=True)]


def _is_repeated(piece: Kept, words: Sequence[str]) -> bool:
    """Whether a translator wrote out a placeholder it was given a holder for. A number or a name may well recur."""
    text = piece.text
    return not text.replace(" ", "").isalnum() and not text[:1].isdigit() and any(text in each for each in words)
