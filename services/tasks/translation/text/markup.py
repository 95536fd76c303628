"""HTML -> blocks: literals, and stretches of running text with inline tags; or only what a reader sees.

A tokenizer, not a parser: it reads tags as they come and keeps every character, so malformed HTML is not an error and
comes out as it went in. Knows which elements hold running text. Does not know sentences.

Text is translated, tags never are: nor are attributes such as ``alt`` and ``title``.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.tasks.translation.text.parts import Kept, Literal
from services.tasks.translation.text.shown import decoded
from services.tasks.translation.text.tags import Kind, kind_of, name_of

_INLINE = frozenset(
    [
        "a",
        "abbr",
        "acronym",
        "b",
        "bdi",
        "bdo",
        "big",
        "cite",
        "code",
        "data",
        "del",
        "dfn",
        "em",
        "font",
        "i",
        "img",
        "ins",
        "kbd",
        "label",
        "mark",
        "math",
        "q",
        "s",
        "samp",
        "small",
        "span",
        "strike",
        "strong",
        "sub",
        "sup",
        "svg",
        "time",
        "tt",
        "u",
        "var",
        "wbr",
    ]
)
"""Elements inside a sentence. Any other, br and unknown ones too, separates what is before it from what follows."""

_UNTRANSLATED = frozenset(["code", "kbd", "math", "pre", "samp", "script", "style", "svg", "textarea", "var"])
_RAW = frozenset(["script", "style", "textarea"])
"""Elements in which nothing but their own closing tag is markup."""
_CLOSINGS = {name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in _RAW}

_ATTRIBUTE = re.compile(
    r"""([^\s"'<>/=][^\s<>/=]*+)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s>]*+)))?""",
)
"""A name, and the value in double quotes, in single ones, or without any."""
_TAG = re.compile(r"""</?[A-Za-z][^\s/>]*+(?:[^>"']|"[^"]*"|'[^']*')*+>""")
_LOOSE_TAG = re.compile(r"</?[A-Za-z][^<>]*>|</?\d{1,6} ?/?>|<![A-Za-z\[][^<>]*>|<\?[^<>]*>")
"""Numbered placeholders, declarations, and tags whose quotes do not pair."""


@dataclass(frozen=True)
class _Token:
    """A tag, a comment, or the text between two."""

    source: str
    is_tag: bool = False
    is_raw: bool = False
    """What a script and its like hold: no text of the page."""

    @property
    def is_inline(self) -> bool:
        name = name_of(self.source)
        return not name or name in _INLINE or name.isdecimal()

    @property
    def is_untranslated(self) -> bool:
        name = name_of(self.source)
        return name in _UNTRANSLATED or _opts_out(self.source[1 + len(name) :])


def _opts_out(attributes: str) -> bool:
    """Whether the author of an element wants it left alone."""
    for name, *quoted in _ATTRIBUTE.findall(attributes):
        value = "".join(quoted).lower()  # one of them at most is not empty
        if name.lower() == "translate" and value.strip() == "no":
            return True
        if name.lower() == "class" and "notranslate" in value.split():
            return True
    return False


def blocks(text: str) -> Iterator[Literal | list[str | Kept]]:
    """What a page consists of, in its order.

    Literals are tags between blocks of text, comments and declarations there, and the whole content of scripts,
    styles, code, and elements marked ``translate="no"`` or ``class="notranslate"``. Between them is running text, with
    inline tags in their places. Code or a marked element inside running text is kept as a whole.
    """
    stretch: list[str | Kept] = []
    for token in _elements(text):
        if isinstance(token, Literal):
            if stretch:
                yield stretch
                stretch = []
            yield token
        else:
            stretch.append(token)
    if stretch:
        yield stretch


def readable(html: str, most: int = 1000) -> str:
    """About the first ``most`` visible characters of a page, to tell its language by.

    Tags, comments, scripts and the like are left out. Reads no further than it has to.
    """
    found: list[str] = []
    seen = 0
    for bit in _visible(html):
        found.append(bit[: most - seen])
        seen += len(found[-1].strip())
        if seen >= most:
            break
    return " ".join("".join(found).split())


def _visible(text: str) -> Iterator[str]:
    for token in _tokens(text):
        if not token.is_tag and not token.is_raw:
            yield from decoded(token.source)
        elif token.is_tag and not token.is_inline:
            yield " "


def _elements(text: str) -> Iterator[Literal | str | Kept]:
    tokens = list(_tokens(text))
    closings = _closings(tokens)
    index = 0
    while index < len(tokens):
        token, last = tokens[index], index
        if not token.is_tag:
            yield token.source
        elif index in closings and token.is_untranslated:
            last = closings[index]
            source = "".join(inner.source for inner in tokens[index : last + 1])
            yield Kept(source, source, source) if token.is_inline else Literal(source)
        else:
            source = token.source
            yield Kept(source, source, source, tag=True) if token.is_inline else Literal(source)
        index = last + 1


def _closings(tokens: Sequence[_Token]) -> dict[int, int]:
    """Index of each opening tag that is closed -> index of its closing tag, whatever is open in between."""
    closings: dict[int, int] = {}
    waiting: defaultdict[str, list[int]] = defaultdict(list)
    for index, token in enumerate(tokens):
        if not token.is_tag:
            continue
        name, kind = name_of(token.source), kind_of(token.source)
        if kind is Kind.OPENS:
            waiting[name].append(index)
        elif kind is Kind.CLOSES and waiting[name]:
            closings[waiting[name].pop()] = index
    return closings


def _tokens(text: str) -> Iterator[_Token]:
    done = position = 0  # text from `done` to `position` is known to hold no tag
    quotes_pair = True
    unclosed: set[str] = set()
    while (start := text.find("<", position)) >= 0:
        end = _end_of_comment(text, start)
        if end is None and quotes_pair:
            end = _end(_TAG, text, start)
            # This looked as far as the end of the text; looking so far again for every "<" could take forever.
            quotes_pair = end is not None or not text[start + 1 : start + 3].strip("/")[:1].isalpha()
        if end is None:
            end = _end(_LOOSE_TAG, text, start)
        if end is None:
            position = start + 1
            continue
        if start > done:
            yield _Token(text[done:start])
        yield _Token(text[start:end], is_tag=True)
        done = position = end
        name = name_of(text[start:end])
        if name not in _RAW or name in unclosed or kind_of(text[start:end]) is not Kind.OPENS:
            continue
        closing = _CLOSINGS[name].search(text, end)
        if not closing:
            unclosed.add(name)  # nor is any that follows: no need to look again
        elif closing.start() > end:
            done = position = closing.start()
            yield _Token(text[end:done], is_raw=True)
    if done < len(text):
        yield _Token(text[done:])


def _end_of_comment(text: str, start: int) -> int | None:
    if not text.startswith("<!--", start):
        return None
    end = text.find("-->", start + 4)
    return end + 3 if end >= 0 else len(text)


def _end(pattern: re.Pattern[str], text: str, start: int) -> int | None:
    match = pattern.match(text, start)
    return match.end() if match else None
