"""One decoder of the library, in its only safe order of calls. Knows searches by name, 16-bit samples and frames.

Called otherwise, the library ends the process, or decodes by what it heard before: see `Decoder.decode`.
"""

import ctypes
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

FRAMES = 100
"""Per second."""

SPEECH = "_default"
"""The search by a language model, there from the start."""

_SHIFT = 1024
"""Scores of paths, and of grammars' words, are logarithms divided by this."""
_LONGEST = 300 * 16_000
"""Samples: the tables of a search grow with every frame, and it ends the process where there is no more memory."""
_PULLS = 200
"""Most paths looked at for other hypotheses: many differ in silences or pronunciations only."""

_opening = Lock()
"""The library keeps a level of logging, and a default model, for the whole process while it opens one."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A word, phrase, phone or filler as the library writes it.

    Args:
        text: ``him(2)`` is a pronunciation; fillers are in ``< >`` or ``[ ]``, leaps in ``( )``.
        start: its first frame.
        end: the frame after its last.
        logarithm: natural, of its posterior probability; of a phrase that was spotted, see `keywords.probability`; of a
            grammar's word, of no use.
        acoustic: natural logarithm of its likelihood, in each frame against that of the sound that fits best.
    """

    text: str
    start: int
    end: int
    logarithm: float
    acoustic: float


@dataclass(frozen=True, slots=True)
class Alternate:
    """Another hypothesis, and the natural logarithm of its path's likelihood."""

    text: str
    logarithm: float


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a search made of an utterance: pieces in order, none if it found no way through, and other hypotheses."""

    pieces: tuple[Piece, ...]
    paths: tuple[Alternate, ...] = ()


class Decoder:
    """Not for two threads at once: calls wait for each other. 90 MB, for nothing of it is shared.

    Args:
        library: with typed functions.
        settings: by the library's names; folders and files among them must be there, or the process may end.

    Raises:
        RuntimeError: the library refuses the settings.
    """

    def __init__(self, library: ctypes.CDLL, settings: Mapping[str, str | float | bool]) -> None:
        self._library = library
        self._lock = Lock()
        # Its messages quote what callers send.
        text = json.dumps({**settings, "loglevel": "FATAL"}).encode()
        with _opening:
            config = library.ps_config_parse_json(None, text)
            self._decoder: int | None = library.ps_init(config) if config else None
            if self._decoder:
                # Of searches to come, grammars: their lattices take minutes where hundreds of words may follow each
                # other. The search of speech has its own already.
                library.ps_config_set_bool(config, b"bestpath", 0)
            library.ps_config_free(config)
        if not self._decoder:
            raise RuntimeError("pocketsphinx cannot open its model; build the artefact again")
        self._logmath = library.ps_get_logmath(self._decoder)
        self._unit = -math.log(library.logmath_exp(self._logmath, -1))
        self._grammars: set[str] = set()
        self._cleans = library.ps_start_stream(self._decoder) == 0

    def add_grammar(self, name: str, file: Path) -> None:
        """Search for what a finite-state grammar in a file says (``FSG_BEGIN``, …), whose words are in the dictionary.

        Raises:
            RuntimeError: the library refuses it.
        """
        library = self._library
        with self._lock:
            decoder = self._open()
            graph = library.fsg_model_readfile(str(file).encode(), self._logmath, 1.0)
            added = library.ps_add_fsg(decoder, name.encode(), graph) if graph else -1
            library.fsg_model_free(graph)  # the search has a reference of its own
        if added < 0:
            raise RuntimeError("pocketsphinx refuses the grammar")
        self._grammars.add(name)

    def add_keywords(self, name: str, file: Path) -> None:
        """Search for the phrases in a file, one in a line, with its threshold between slashes.

        Raises:
            RuntimeError: the library refuses it.
        """
        with self._lock:
            if self._library.ps_add_kws(self._open(), name.encode(), str(file).encode()) < 0:
                raise RuntimeError("pocketsphinx refuses the keywords")

    def remove(self, name: str) -> None:
        """Forget a search; whatever is decoded next names another."""
        with self._lock:
            self._library.ps_remove_search(self._open(), name.encode())
            self._grammars.discard(name)

    def decode(self, search: str, samples: NDArray[np.int16], hypotheses: int = 1) -> Decoded:
        """All of an utterance at once, as if nothing had been decoded before.

        The statistics of noise are forgotten, and the mean of its cepstra is its own: the library takes one from the
        whole of an utterance only if none was ever given to it in parts.

        Args:
            search: by name.
            samples: at 16 kHz; at most five minutes.
            hypotheses: how many texts are wanted, the best included; of a grammar there is one.

        Raises:
            RuntimeError: there is no such search.
            ValueError: there are too many samples.
        """
        if len(samples) > _LONGEST:
            raise ValueError(f"{len(samples)} samples; at most {_LONGEST} are decoded at once")
        samples = np.ascontiguousarray(samples, dtype=np.int16)
        library = self._library
        with self._lock:
            decoder = self._open()
            if library.ps_activate_search(decoder, search.encode()) < 0:
                raise RuntimeError(f"no search {search}")
            if self._cleans:
                library.ps_start_stream(decoder)
            library.ps_start_utt(decoder)
            library.ps_process_raw(decoder, samples.ctypes.data, len(samples), 0, 1)
            library.ps_end_utt(decoder)
            if not library.ps_get_hyp(decoder, None):
                return Decoded(())
            if search in self._grammars:
                return Decoded(self._pieces(decoder, _SHIFT))
            return Decoded(self._pieces(decoder), self._paths(decoder, hypotheses) if hypotheses > 1 else ())

    def close(self) -> None:
        """Free it; closing again does nothing."""
        with self._lock:
            decoder, self._decoder = self._decoder, None
            if decoder:
                self._library.ps_free(decoder)

    def _open(self) -> int:
        if self._decoder is None:
            raise RuntimeError("the decoder is closed")
        return self._decoder

    def _pieces(self, decoder: int, scale: int = 1) -> tuple[Piece, ...]:
        library, found = self._library, []
        start, end = ctypes.c_int(), ctypes.c_int()
        acoustic, language, back = ctypes.c_int32(), ctypes.c_int32(), ctypes.c_int32()
        segment = library.ps_seg_iter(decoder)
        while segment:
            library.ps_seg_frames(segment, start, end)
            logarithm = library.ps_seg_prob(segment, acoustic, language, back) * self._unit
            text = library.ps_seg_word(segment).decode().strip()
            found.append(Piece(text, start.value, end.value + 1, logarithm, acoustic.value * scale * self._unit))
            segment = library.ps_seg_next(segment)
        return tuple(found)

    def _paths(self, decoder: int, hypotheses: int) -> tuple[Alternate, ...]:
        """Texts by how good their best path is, each once."""
        library, found = self._library, dict[str, float]()
        score = ctypes.c_int32()
        path = library.ps_nbest(decoder)
        for _ in range(_PULLS):
            if not path or len(found) >= hypotheses:
                break
            # A path of silence only has no text.
            if text := library.ps_nbest_hyp(path, score):
                found.setdefault(text.decode(), score.value * _SHIFT * self._unit)
            path = library.ps_nbest_next(path)
        if path:
            library.ps_nbest_free(path)
        return tuple(Alternate(text, logarithm) for text, logarithm in found.items())
