"""What searches find, how far they look, and who else has a say in it."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

from services.engines.ctc.posteriors import Floats
from services.engines.ctc.vocabulary import Labels

PlaceT = TypeVar("PlaceT")


class Scorer(Protocol[PlaceT]):
    """What is added to the log probability of a prefix, as it grows."""

    def first(self) -> PlaceT:
        """Where nothing is written."""

    def after(self, place: PlaceT, token: int) -> PlaceT:
        """Where one token more is written."""

    def gains(self, place: PlaceT) -> Floats:
        """What each token would add here, ``[tokens]``."""

    def end(self, place: PlaceT) -> float:
        """What is added if the text ends here."""


class Text(NamedTuple):
    """A text that was found.

    Args:
        labels: that write it.
        chance: its natural log probability, by sound alone.
        score: the same with what a scorer adds: what it was chosen by.
    """

    labels: Labels
    chance: float
    score: float


@dataclass(frozen=True, slots=True)
class Width:
    """What a search gives up.

    Args:
        beam: prefixes kept at each frame.
        floor: a token of a frame with a log probability below is not thought of there, but for the best.
        margin: a prefix whose score is so much less than the best is not kept.
    """

    beam: int
    floor: float = -6.0
    margin: float = 16.0
