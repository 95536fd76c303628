"""English speech on pocketsphinx: grammars and keywords per request, word times, other hypotheses, on any CPU.

Reads ``sphinx.json`` of an artefact, and the files that it names.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Self

import numpy as np
from numpy.typing import NDArray

from services.core.audio import Samples
from services.core.engine import EngineOptions
from services.core.speech import Abilities, Recognition, Recognized, Utterance
from services.engines.pocketsphinx.answers import allowed, spoken, spotted
from services.engines.pocketsphinx.decoder import Decoder
from services.engines.pocketsphinx.dictionary import Dictionary
from services.engines.pocketsphinx.lane import Lane
from services.engines.pocketsphinx.library import open_library
from services.engines.pocketsphinx.searches import Kind, Searches

SETTINGS = "sphinx.json"
"""The library's settings by its own names; those in `PATHS` are files or folders of the artefact."""
PATHS = ("hmm", "lm", "dict")
"""Acoustic model, language model, dictionary."""

_ABILITIES = Abilities(
    seconds=30.0,
    languages=("en",),
    grammars=True,
    keywords=True,
    hypotheses=10,
    word_times=True,
)


class SphinxRecognizer:
    """A decoder for each lane, opened with the model (a quarter of a second and 90 MB each, of which they share none).

    Decoding runs outside the GIL. What is heard in an utterance does not depend on what was decoded before.
    """

    def __init__(self, lanes: Sequence[Lane], dictionary: Dictionary) -> None:
        self._lanes = tuple(lanes)
        self._free: SimpleQueue[Lane] = SimpleQueue()
        for lane in lanes:
            self._free.put(lane)
        self._searches = Searches(dictionary)

    @classmethod
    def load(cls, artefact: Path, options: EngineOptions) -> Self:
        """Open the model once for each lane.

        Raises:
            FileNotFoundError: the artefact lacks a file; the library would end the process.
            RuntimeError: the library is not there, or does not take the model.
        """
        settings = json.loads((artefact / SETTINGS).read_text(encoding="utf-8"))
        for name in PATHS:
            path = artefact / settings[name]
            if not path.exists():
                raise FileNotFoundError(f"{path} is missing; build the artefact again")
            settings[name] = str(path)
        library = open_library()
        lanes = [Lane(Decoder(library, settings)) for _ in range(options.lanes)]
        return cls(lanes, Dictionary.read(Path(settings["dict"])))

    @property
    def abilities(self) -> Abilities:
        """English, in words of lower case; a grammar or keywords, not both."""
        return _ABILITIES

    def check(self, recognition: Recognition) -> None:
        """Make sure that a grammar or keywords can be searched for.

        Raises:
            ServingError: INVALID_ARGUMENT that names ``grammar`` or ``keywords``.
        """
        self._searches.of(recognition)

    def run(self, batch: Sequence[Utterance]) -> list[Recognized]:
        """One after the other, on a lane that is free; waits for one if there is none."""
        with self._lane() as lane:
            return [self._recognized(lane, utterance) for utterance in batch]

    def close(self) -> None:
        """Free the decoders. Pipelines may share an engine, so it may be closed more than once."""
        for lane in self._lanes:
            lane.close()

    @contextmanager
    def _lane(self) -> Iterator[Lane]:
        lane = self._free.get()
        try:
            yield lane
        finally:
            self._free.put(lane)

    def _recognized(self, lane: Lane, utterance: Utterance) -> Recognized:
        recognition = utterance.recognition
        search = self._searches.of(recognition)
        decoded = lane.decode(search, _pcm(utterance.samples), recognition.hypotheses)
        if search.kind == Kind.KEYWORDS:
            return spotted(decoded, search.thresholds, recognition)
        if search.kind == Kind.GRAMMAR:
            return allowed(decoded, recognition)
        return spoken(decoded, recognition)


def _pcm(samples: Samples) -> NDArray[np.int16]:
    return np.rint(np.clip(samples, -1.0, 1.0) * 32767).astype(np.int16)
