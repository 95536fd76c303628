"""JSGF text -> rules. Knows the notation (W3C note "JSpeech Grammar Format", 2000); not what rules cost.

Of the notation there are no imports: a request's grammar is one text. Tags are read over; a header is not required.
"""

from typing import NoReturn

from services.engines.pocketsphinx.lexemes import Lexeme, lexemes
from services.engines.pocketsphinx.rules import (
    NOTHING,
    Choice,
    Node,
    Reference,
    Repeat,
    Rules,
    Sequence,
    Token,
    refused,
)

LONGEST = 4_096
"""Characters of a grammar."""
DEPTH = 20
"""Most brackets inside each other."""


def parse(text: str) -> Rules:
    """The rules of a grammar.

    Raises:
        ServingError: INVALID_ARGUMENT; it is too long, not JSGF (at which character), imports, or has no public rule.
    """
    if len(text) > LONGEST:
        raise refused(f"{len(text)} characters; at most {LONGEST} are taken")
    return _Parser(text).rules()


class _Parser:
    """Recursive descent, a method for each production."""

    def __init__(self, text: str) -> None:
        self._lexemes = lexemes(text)
        self._next = 0
        self._depth = 0

    def rules(self) -> Rules:
        self._opening()
        bodies: dict[str, Node] = {}
        public = []
        while self._peek.kind != "end":
            is_public = bool(self._taken("word", "public"))
            name = self._name(self._expect("rule"))
            self._expect("sign", "=")
            if name in bodies:
                raise refused(f"rule <{name}> is defined twice")
            bodies[name] = self._choice()
            self._expect("sign", ";")
            public += [name] * is_public
        if not public:
            raise refused("no rule is public; write: public <name> = … ;")
        return Rules(bodies, tuple(public))

    def _opening(self) -> None:
        self._taken("header")
        if self._taken("word", "grammar"):
            self._expect("word")
            self._expect("sign", ";")
        if self._peek.text == "import":
            raise refused("imports are not taken; put the rules into this grammar")

    def _choice(self) -> Node:
        weights, options = [], []
        while True:
            weight = self._taken("weight")
            weights.append(float(weight.text.strip("/ \t\n\r")) if weight else 1.0)
            options.append(self._sequence())
            if not self._taken("sign", "|"):
                break
        if len(options) == 1:
            return options[0]
        if not (total := sum(weights)):
            raise refused("weights of alternatives must not all be 0")
        kept = [(option, weight / total) for option, weight in zip(options, weights, strict=True) if weight]
        return Choice(tuple(option for option, _ in kept), tuple(probability for _, probability in kept))

    def _sequence(self) -> Node:
        parts = [self._item()]
        while self._peek.kind in {"word", "quoted", "rule"} or self._peek.text in {"(", "["}:
            parts.append(self._item())
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _item(self) -> Node:
        part = self._atom()
        while sign := self._taken("sign", "*") or self._taken("sign", "+"):
            part = Repeat(part, optional=sign.text == "*", again=True)
        return part

    def _atom(self) -> Node:
        if self._taken("sign", "("):
            return self._group(")")
        if self._taken("sign", "["):
            return Repeat(self._group("]"), optional=True, again=False)
        if name := self._taken("rule"):
            special: dict[str, Node] = {"NULL": NOTHING, "VOID": Choice((), ())}
            return special.get(self._name(name)) or Reference(self._name(name))
        if word := self._taken("word") or self._taken("quoted"):
            return Token(word.text.strip('"'))
        return self._unexpected("a word, a rule or a group")

    def _group(self, end: str) -> Node:
        self._depth += 1
        if self._depth > DEPTH:
            raise refused(f"brackets may be at most {DEPTH} deep")
        inside = self._choice()
        self._expect("sign", end)
        self._depth -= 1
        return inside

    @staticmethod
    def _name(lexeme: Lexeme) -> str:
        return lexeme.text.strip("<> \t\n\r")

    @property
    def _peek(self) -> Lexeme:
        return self._lexemes[self._next]

    def _taken(self, kind: str, text: str = "") -> Lexeme | None:
        lexeme = self._peek
        if lexeme.kind != kind or (text and lexeme.text != text):
            return None
        self._next += 1
        return lexeme

    def _expect(self, kind: str, text: str = "") -> Lexeme:
        return self._taken(kind, text) or self._unexpected(text or f"a {kind}")

    def _unexpected(self, wanted: str) -> NoReturn:
        raise refused(f"character {self._peek.at}: expected {wanted}, not {self._peek.text[:20] or 'the end'!r}")
