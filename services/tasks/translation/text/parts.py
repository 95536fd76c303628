"""What a document is made of: literals, and sentences of words and of what must not change.

Every part knows the source it stands for, and the sources of all parts together are the document. Nothing here knows
how parts are found, hidden from a model or put back.
"""

import unicodedata
from dataclasses import dataclass

_SPACELESS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x9FFF),  # Han, kana
    (0xF900, 0xFAFF),  # Han, compatibility
    (0xFF66, 0xFF9F),  # kana, half width
    (0x20000, 0x3FFFF),  # Han, extensions
)


SPACELESS = "".join(f"{chr(first)}-{chr(last)}" for first, last in _SPACELESS)
"""The same characters, for the brackets of a regular expression."""


@dataclass(frozen=True)
class Literal:
    """Goes to the answer as it is: white space, bullets, tags, anything without a letter to translate."""

    text: str

    @property
    def source(self) -> str:
        """The text itself."""
        return self.text


@dataclass(frozen=True)
class Words:
    """Words to translate."""

    text: str
    """What a model sees: entities decoded, control characters dropped."""
    source: str
    """The part of the document it was read from."""


@dataclass(frozen=True)
class Kept:
    """Something inside a sentence that no model may change."""

    source: str
    """The part of the document it was read from."""
    output: str
    """What the translated document says in its place."""
    text: str
    """``output`` as a reader sees it: what a model is shown that has no holders."""
    tag: bool = False
    """Markup, which keeps its order among its like, so that elements stay nested as they were."""


Piece = Words | Kept


@dataclass(frozen=True)
class Sentence:
    """What a model translates at once."""

    pieces: tuple[Piece, ...]
    markup: bool = False
    """The document is HTML: translated words are escaped."""

    @property
    def source(self) -> str:
        """The part of the document it was read from."""
        return "".join(piece.source for piece in self.pieces)

    @property
    def kept(self) -> tuple[Kept, ...]:
        """What must come out unchanged, in order."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Kept))

    @property
    def needs_model(self) -> bool:
        """Whether any words are left to translate; without, `join_pieces` with no translations is the answer."""
        return any(isinstance(piece, Words) and has_letters(piece.text) for piece in self.pieces)


Part = Literal | Sentence


def has_letters(text: str) -> bool:
    """Whether a text has anything a translator could change."""
    return any(map(str.isalpha, text))


def is_spaceless(char: str) -> bool:
    """Whether a character belongs to a script that sets no spaces between words."""
    return any(first <= ord(char) <= last for first, last in _SPACELESS)


def is_spaced_word(char: str) -> bool:
    """Whether a character is part of a word that spaces set apart from its neighbours."""
    return (char.isalnum() or bool(unicodedata.combining(char))) and not is_spaceless(char)
