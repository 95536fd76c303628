"""Examples -> what the trunk hears in them, computed once and kept: the trunk does not learn.

Knows the trunk's graph. Does not know what is learned from its states.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import onnxruntime as ort
from clips import Wave
from mixing import Example, Span
from numpy.typing import NDArray

from models.export.bundled_ctc.trunk import open_trunk


@dataclass(frozen=True, slots=True)
class Heard:
    """An example as the trunk hears it.

    Args:
        states: float16 [frames, width].
        spans: what is said where.
        speakers: whose voices are in it.
    """

    states: NDArray[np.float16]
    spans: tuple[Span, ...]
    speakers: tuple[str, ...]


class Trunk:
    """The frozen layers, on one thread."""

    def __init__(self, folder: Path) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        graph = open_trunk(folder).SerializeToString()
        self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def states(self, wave: Wave) -> NDArray[np.float32]:
        """[frames, width] of a waveform."""
        states: NDArray[np.float32] = self._session.run(None, {"input_values": wave[None].astype(np.float32)})[0][0]
        return states


def hear(trunk: Trunk, examples: Iterable[Example]) -> list[Heard]:
    """Each of them."""
    return [Heard(trunk.states(one.wave).astype(np.float16), one.spans, one.speakers) for one in examples]


def save(heard: list[Heard], file: Path) -> None:
    """Write them as one file, whole or not at all."""
    new = file.with_suffix(".new.npz")
    spans = [span for one in heard for span in one.spans]
    np.savez(
        new,
        states=np.concatenate([one.states for one in heard]),
        frames=np.array([len(one.states) for one in heard]),
        counts=np.array([len(one.spans) for one in heard]),
        places=np.array([(span.first, span.end) for span in spans]),
        words=np.array([span.word for span in spans]),
        speakers=np.array([" ".join(one.speakers) for one in heard]),
    )
    new.replace(file)


def load(file: Path) -> list[Heard]:
    """Read what `save` wrote."""
    with np.load(file, allow_pickle=False) as kept:
        pieces = np.split(kept["states"], np.cumsum(kept["frames"])[:-1])
        rows = zip(kept["places"].tolist(), kept["words"].tolist(), strict=True)
        spans = (Span(first, end, word) for (first, end), word in rows)
        whole = zip(pieces, kept["counts"].tolist(), kept["speakers"].tolist(), strict=True)
        return [Heard(states, tuple(islice(spans, count)), tuple(who.split())) for states, count, who in whole]
