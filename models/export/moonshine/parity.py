"""Whether the new graphs compute what the published ones do."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from models.export import ExportError

MAX_PARITY_ERROR = 0.1
"""Of natural logarithms of probabilities, on average. Scales of int8 are found on the fly, so that the last bit of a
sum may move a whole step; a graph with one thing wrong is off by 0.4 and more."""

STEPS = 12
START = 1
ORDINARY = range(300, 20_000)
"""Tokens that are pieces of words."""

Tensors = dict[str, NDArray[np.generic]]


def require_parity(published: Path, written: Path) -> float:
    """The mean error of log probabilities over a few steps on noise, each model given the same random tokens.

    What it would choose by itself it is too sure of: a wrong graph would be as well.

    Raises:
        ExportError: it is too large.
    """
    random = np.random.default_rng(0)
    samples = random.normal(0, 0.1, (1, 16_000)).astype(np.float32)
    given = [START, *random.choice(ORDINARY, STEPS - 1).tolist()]
    expected, found = _published(published, samples, given), _written(written, samples, given)
    errors = [abs(float(row[tokens] - chances)) for row, (tokens, chances) in zip(expected, found, strict=True)]
    error = float(np.mean(errors))
    if not error <= MAX_PARITY_ERROR:
        raise ExportError(f"the decoder differs from the published one by {error:.2g}; nothing is written")
    return round(error, 5)


def _published(folder: Path, samples: NDArray[np.float32], tokens: list[int]) -> list[NDArray[np.float32]]:
    """Log probabilities of all tokens after each of these."""
    encoder, step = (_open(folder / f"{name}.ort") for name in ("encoder_model", "decoder_model_merged"))
    mask = np.ones(samples.shape, np.int64)
    (hidden,) = encoder.run(None, {"input_values": samples, "attention_mask": mask})
    past = {one.name: np.zeros((1, one.shape[1], 0, one.shape[3]), np.float32) for one in step.get_inputs()[3:-1]}
    feeds: Tensors = {"encoder_hidden_states": hidden, "encoder_attention_mask": mask, **past}
    rows = []
    for number, token in enumerate(tokens):
        feeds |= {"input_ids": np.array([[token]]), "use_cache_branch": np.array([number > 0])}
        logits, *present = step.run(None, feeds)
        # What is made of the encoder's output comes from the first step only.
        kept = [name for name in past if number == 0 or ".decoder." in name]
        feeds |= {name: present[list(past).index(name)] for name in kept}
        rows.append(_log_softmax(logits[0, -1]))
    return rows


def _written(folder: Path, samples: NDArray[np.float32], tokens: list[int]) -> list[tuple[int, float]]:
    """The best token after each of these, and its log probability."""
    encoder, step = (_open(folder / f"{name}.onnx") for name in ("encoder", "decoder"))
    crosses = [one.name for one in encoder.get_outputs()]
    feeds: Tensors = dict(zip(crosses, encoder.run(None, {"input_values": samples}), strict=True))
    pasts = [name.replace("cross", "past") for name in crosses]
    feeds |= {past: feeds[cross][:, :, :0] for past, cross in zip(pasts, crosses, strict=True)}
    wanted = ["tokens", "log_probs", *(name.removeprefix("cross_") for name in crosses)]
    found = []
    for token in tokens:
        best, chances, *longer = step.run(wanted, feeds | {"input_ids": np.array([[token]])})
        feeds |= zip(pasts, longer, strict=True)
        found.append((int(best[0, 0]), float(chances[0, 0])))
    return found


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = logits - logits.max()
    chances: NDArray[np.float32] = shifted - np.log(np.exp(shifted).sum())
    return chances


def _open(file: Path) -> ort.InferenceSession:
    return ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
