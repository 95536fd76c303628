"""What no model may change: placeholders, addresses, numbers, and the caller's own terms.

Where two would overlap, the one that starts first is kept, and of two that start together the longer. Every search
here takes time in proportion to the text: repetitions are bounded, or cannot be entered twice. Knows no tags and no
models.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from types import MappingProxyType

from services.tasks.translation.text.terms import Terms

PRIVATE = "\ue000-\uf8ff"
"""Private-use characters, for the brackets of a regular expression. Holders are such, so a text's own are kept."""

_END = r"""\s<>"'`{}|\\^«»„“”‘’。，、；：！？）】」』"""
_ASIDE = rf"\([^{_END}()]{{0,200}}\)"
_LETTER = r"[^\W_\u0e00-\u0eff\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7af]"
"""A letter or digit of a script that sets spaces between words: others do not make a word with what they touch."""
_NUMBERS = re.compile(
    # A number that touches a letter (A4, 5kg, 1st) is part of a word. What may join digits may not stand before the
    # first of them: else a chain that ends in a letter is read again from each of its links.
    rf"(?<!{_LETTER})(?<!_)(?<!\d[.,:/\-–])(?:(?<!\S)[+\-−])?"
    r"(?:\d{1,3}(?:[ \u00a0\u202f'’]\d{3})+(?:[.,]\d++)?|\d++(?:[.,:/\-–]\d++)*+)"
    rf"(?!{_LETTER})"
)
_NAME_ENDINGS = (
    "com|org|net|io|dev|edu|gov|html?|pdf|docx?|xlsx?|pptx?|txt|csv|json|xml|ya?ml|toml|md|py|js|ts|zip|png|jpe?g|svg"
    "|gif|mp[34]|exe|sh"
)
_ALWAYS = re.compile(
    "|".join(
        (
            r"`[^`\n]{1,200}`",
            r"\{\{[^{}\n]{0,64}\}\}|\{%[^%{}\n]{0,200}%\}|\{[\w.:!\[\]\-]{0,64}\}",  # {{name}} {% if x %} {name:.2f}
            r"\$\{[^{}\s]{1,64}\}|\$[A-Z_][A-Z0-9_]{1,63}(?!\w)",  # ${name} $NAME
            r"%%|%(?:\d{1,2}\$|\(\w{1,64}\))?[\-+#0]?\d{0,3}(?:\.\d{1,3})?(?:hh|h|ll|l)?[sdifgxXueEcq@](?!\w)",
            rf"(?<!{_LETTER})(?:(?:https?|ftp|file)://|www\.)(?:{_ASIDE}|[^{_END}()])*(?:{_ASIDE}|[^{_END}().,;:!?\]…])",
            r"(?<![\w.+\-])[\w.+\-]{1,64}@(?:[\w\-]{1,63}\.){1,8}[^\W\d_]{2,24}",
            r"(?<![\w@\#&/])[@\#]\w{1,64}",
            r"(?<![\w/.~])(?:~|\.{1,2})?(?:/[\w.+\-]*[\w+\-])+/?|(?<!\w)[A-Za-z]:\\[\w.\-\\]*[\w\-\\]",  # paths
            rf"(?<![\w.\-])[\w\-]{{1,64}}(?:\.[\w\-]{{1,64}}){{0,8}}\.(?:{_NAME_ENDINGS})(?![\w\-])",  # files, hosts
            rf"[{PRIVATE}]+",
            "[\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff][\U0001f000-\U0001faff\u2600-\u27bf\u2b00-\u2bff"
            "\ufe0f\u200d\U000e0020-\U000e007f]*",  # emoji
        )
    )
)


@dataclass(frozen=True)
class Span:
    """A stretch of a text, and what the translation says in its place: None for the same."""

    start: int
    end: int
    replacement: str | None = None


@dataclass(frozen=True)
class Keep:
    """The caller's wishes.

    Placeholders, code in backticks, addresses, paths, handles, emoji and private-use characters are kept in any case.
    """

    preserve: tuple[str, ...] = ()
    """Terms that stay as they are: same case, whole words. White space around a term is not part of it."""
    glossary: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Term -> its translation, used exactly as given. Whole words; the first letter may be of either case."""
    numbers: bool = True
    """Whether numbers, times, dates and versions stay as they are."""

    def spans(self, text: str) -> list[Span]:
        """What is kept of ``text``: in order, without overlaps."""
        found = chain(_plain(_ALWAYS, text), _plain(_NUMBERS, text) if self.numbers else (), self._terms(text))
        spans: list[Span] = []
        for span in sorted(found, key=lambda span: (span.start, -span.end)):
            if not spans or span.start >= spans[-1].end:
                spans.append(span)
        return spans

    def _terms(self, text: str) -> Iterator[Span]:
        return (Span(start, end, self._targets[text[start:end]]) for start, end in self._finder.find(text))

    @cached_property
    def _finder(self) -> Terms:
        return Terms(self._targets)

    @cached_property
    def _targets(self) -> dict[str, str | None]:
        """What each term becomes. One that is both preserved and translated is preserved."""
        given = {term.strip(): target for term, target in self.glossary.items()}
        other_case = {term[:1].swapcase() + term[1:]: target for term, target in given.items()}
        targets = {**other_case, **given, **dict.fromkeys(map(str.strip, self.preserve))}
        return {term: target for term, target in targets.items() if term}


def _plain(pattern: re.Pattern[str], text: str) -> Iterator[Span]:
    return (Span(*match.span()) for match in pattern.finditer(text))
