"""Tokens with times among them -> stretches of a window. Knows ids; knows no text."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.engines.whisper.settings import WhisperSettings

TIMESTAMPS_PER_SECOND = 50


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was said between two times.

    Args:
        tokens: its text and the times around it.
        start: seconds from the beginning of the window.
        end: not before the start.
    """

    tokens: tuple[int, ...]
    start: float
    end: float


def stretches(tokens: Sequence[int], settings: WhisperSettings, seconds: float) -> list[Stretch]:
    """Cut tokens at their times.

    Args:
        tokens: of a window.
        settings: which of them are text, which times.
        seconds: of speech in the window: nothing ends later.
    """
    found: list[Stretch] = []
    held: list[int] = []
    start = 0.0
    for token in tokens:
        if token < settings.first_timestamp:
            held.append(token)
            continue
        time = min(seconds, (token - settings.first_timestamp) / TIMESTAMPS_PER_SECOND)
        if _speaks(held, settings):
            found.append(Stretch((*held, token), start, max(start, time)))
            held = []
        else:
            held = [token]
        start = time
    if _speaks(held, settings):
        found.append(Stretch(tuple(held), start, max(start, seconds)))
    return found


def _speaks(tokens: Sequence[int], settings: WhisperSettings) -> bool:
    return any(token < settings.end for token in tokens)
