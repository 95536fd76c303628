"""A decoder and the searches that it has ready."""

import tempfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.engines.pocketsphinx.decoder import SPEECH, Decoded, Decoder
from services.engines.pocketsphinx.searches import Kind, Search

_READY = 16
"""Grammars and lists of keywords that a decoder keeps; the one that was not used for longest makes way."""


class Lane:
    """For one thread at a time."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._ready: OrderedDict[str, None] = OrderedDict()

    def decode(self, search: Search, samples: NDArray[np.int16], hypotheses: int = 1) -> Decoded:
        """What the search makes of an utterance (see `Decoder.decode`).

        Raises:
            RuntimeError: the library refuses the search.
        """
        return self._decoder.decode(self._named(search), samples, hypotheses)

    def close(self) -> None:
        """Free the decoder."""
        self._decoder.close()

    def _named(self, search: Search) -> str:
        if search.kind == Kind.SPEECH:
            return SPEECH
        if search.name not in self._ready:
            self._add(search)
        self._ready[search.name] = None
        self._ready.move_to_end(search.name)
        if len(self._ready) > _READY:
            self._decoder.remove(self._ready.popitem(last=False)[0])
        return search.name

    def _add(self, search: Search) -> None:
        with tempfile.TemporaryDirectory() as folder:  # the library reads lists from files only, and at once
            file = Path(folder) / search.kind
            file.write_text(search.content, encoding="utf-8")
            add = self._decoder.add_keywords if search.kind == Kind.KEYWORDS else self._decoder.add_grammar
            add(search.name, file)
