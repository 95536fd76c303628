"""What rules of a grammar are, as trees; and that one is refused. Knows no notation."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.core.errors import Code, ServingError


@dataclass(frozen=True, slots=True)
class Token:
    """A word to be said, or several in quotation marks."""

    text: str


@dataclass(frozen=True, slots=True)
class Reference:
    """What another rule says, by its name without angle brackets."""

    rule: str


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after the other; of none, nothing is said (``<NULL>``)."""

    parts: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of them, with probabilities; of none, it cannot be said (``<VOID>``)."""

    options: "tuple[Node, ...]"
    probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """``[x]`` is optional, ``x+`` comes again, ``x*`` is both."""

    part: "Node"
    optional: bool
    again: bool


Node = Token | Reference | Sequence | Choice | Repeat

NOTHING = Sequence(())


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules by name; the public ones can be said."""

    bodies: Mapping[str, Node]
    public: tuple[str, ...]


def refused(reason: str) -> ServingError:
    """A grammar that cannot be used, and why."""
    return ServingError(Code.INVALID_ARGUMENT, f"grammar: {reason}", "grammar")
