"""Frames of sound -> probabilities that somebody speaks.

Silero VAD 6 (MIT, github.com/snakers4/silero-vad), the graph that takes a sequence of frames: one run for seconds of
sound, with the same probabilities as frame by frame.
"""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from services.core.audio import SPEECH_RATE, Samples

FRAME = 512
"""Samples of a frame: 32 ms."""

FRAME_SECONDS = FRAME / SPEECH_RATE

_CONTEXT = 64
"""Samples before a frame that the graph is given with it."""

_MOST = 512
"""Frames in one run, which takes 40 kB for each."""

_QUIET = 6
"""Frames of silence that each stream begins after, so to speak. Without them, the first word of a recording that is cut
tightly may be missed: 13 of 100 quiet digits were, and none is."""

Probabilities = NDArray[np.float32]
State = list[NDArray[np.float32]]


class VoiceDetector:
    """The model; threads may share one.

    Args:
        file: its graph.
    """

    def __init__(self, file: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        state = [np.zeros((1, 1, 128), np.float32)] * 2
        _, self._quiet = _probabilities(self._session, np.zeros((_QUIET, _CONTEXT + FRAME), np.float32), state)

    def stream(self) -> "VoiceStream":
        """A detector for one stream of sound."""
        return VoiceStream(self._session, self._quiet)


class VoiceStream:
    """What is remembered between frames.

    Args:
        session: of the graph.
        state: of the graph after what was heard before.
    """

    def __init__(self, session: onnxruntime.InferenceSession, state: State) -> None:
        self._session = session
        self._state = state
        self._context = np.zeros(_CONTEXT, np.float32)
        self._rest = np.zeros(0, np.float32)

    def feed(self, samples: Samples) -> Probabilities:
        """One for each frame that is whole; what is left of the samples goes to the next."""
        held = np.concatenate((self._rest, samples))
        whole = len(held) // FRAME * FRAME
        self._rest = held[whole:]
        frames = held[:whole].reshape(-1, FRAME)
        found = [self._run(frames[start : start + _MOST]) for start in range(0, len(frames), _MOST)]
        return np.concatenate(found) if found else np.zeros(0, np.float32)

    def flush(self) -> Probabilities:
        """Of the last frame, filled up with silence; none if nothing is left."""
        return self.feed(np.zeros(-len(self._rest) % FRAME, np.float32))

    def _run(self, frames: NDArray[np.float32]) -> Probabilities:
        contexts = np.vstack((self._context, frames[:-1, -_CONTEXT:]))
        self._context = frames[-1, -_CONTEXT:]
        found, self._state = _probabilities(self._session, np.hstack((contexts, frames)), self._state)
        return found


def _probabilities(
    session: onnxruntime.InferenceSession, frames: NDArray[np.float32], state: State
) -> tuple[Probabilities, State]:
    """One for each frame with its context, and the state after the last."""
    inputs = {"input": frames, "h": state[0], "c": state[1]}
    probabilities, *after = session.run(["speech_probs", "hn", "cn"], inputs)
    return np.asarray(probabilities, np.float32), after
