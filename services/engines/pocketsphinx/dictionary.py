"""The words that a model can hear, and how long they are."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from services.core.errors import Code, ServingError

_NAMED = 5
"""Most unknown words that an error names."""


class Dictionary:
    """Words in lower case.

    Args:
        phones: by word, the phones of its shortest pronunciation.
    """

    def __init__(self, phones: Mapping[str, int]) -> None:
        self._phones = phones

    @classmethod
    def read(cls, file: Path) -> "Dictionary":
        """A file of lines of a word and its phones; ``word(2)`` is another pronunciation of ``word``."""
        phones: dict[str, int] = {}
        for line in file.read_text(encoding="utf-8").splitlines():
            entry, *sounds = line.split()
            word = entry.partition("(")[0]
            phones[word] = min(phones.get(word, len(sounds)), len(sounds))
        return cls(phones)

    def length(self, words: Iterable[str]) -> int:
        """Phones of words that it has, together."""
        return sum(self._phones[word] for word in words)

    def check(self, words: Iterable[str], field: str) -> None:
        """Make sure that it has them all.

        Raises:
            ServingError: INVALID_ARGUMENT, naming those that it has not.
        """
        if unknown := [word for word in words if word not in self._phones]:
            named = ", ".join(repr(word[:30]) for word in unknown[:_NAMED]) + ", …" * (len(unknown) > _NAMED)
            reason = f"not in the dictionary: {named}; use other words, and write numbers and abbreviations out"
            raise ServingError(Code.INVALID_ARGUMENT, f"{field}: {reason}", field)
