"""JSGF text -> its lexemes: words, names of rules, weights, signs. Space, comments and tags are none."""

import re
from dataclasses import dataclass

from services.engines.pocketsphinx.rules import refused

_LEXEMES = re.compile(
    r"""(?P<space>\s+|//[^\n]*|/\*.*?\*/|\{(?:[^\\{}]|\\.)*\})
      | (?P<header>\#JSGF[^;\n]*;)
      | (?P<weight>/\s*[0-9]{1,6}(?:\.[0-9]{0,6})?\s*/)
      | (?P<rule><\s*[\w.$*-]+\s*>)
      | (?P<quoted>"[^"\\]*")
      | (?P<sign>[;=|*+()\[\]])
      | (?P<word>[^\s;=|*+<>()\[\]{}/"\\\#]+)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Lexeme:
    """One, and where it begins."""

    kind: str
    text: str
    at: int


def lexemes(text: str) -> list[Lexeme]:
    """All of a text, and one of kind ``end``.

    Raises:
        ServingError: INVALID_ARGUMENT; a character begins none.
    """
    found, at = [], 0
    while at < len(text):
        if not (match := _LEXEMES.match(text, at)):
            raise refused(f"character {at} is not JSGF: {text[at : at + 20]!r}")
        if match.lastgroup != "space":
            found.append(Lexeme(str(match.lastgroup), match[0], at))
        at = match.end()
    return [*found, Lexeme("end", "", at)]
