"""How well a network tells words, in several conditions. Knows clips and tokens."""

from collections.abc import Callable, Iterable, Sequence

import jiwer
import numpy as np
import torch
from augmentation import add_noise, coloured_noise, normalize
from bank import Bank
from clips import RATE, Clip, Wave
from mixing import Example
from numpy.random import Generator

from models.export.bundled_ctc.network import Network


@torch.inference_mode()
def written(network: Network, wave: Wave, words: Sequence[str]) -> list[str]:
    """The best token of each frame, repetitions and blanks left out."""
    samples = torch.from_numpy(wave)[None]
    best = network(samples, torch.ones_like(samples))[0].argmax(1)
    return [words[token - 1] for token in torch.unique_consecutive(best).tolist() if token]


def word_error_rate(network: Network, examples: Iterable[Example], words: Sequence[str]) -> float:
    """Of all of them together."""
    pairs = [(" ".join(example.words), " ".join(written(network, example.wave, words))) for example in examples]
    return float(jiwer.wer([said for said, _ in pairs], [found for _, found in pairs]))


def false_words(network: Network, waves: Iterable[Wave], words: Sequence[str]) -> float:
    """Words per minute that are written for other speech."""
    found, seconds = 0, 0.0
    for wave in waves:
        found += len(written(network, wave, words))
        seconds += len(wave) / RATE
    return 60 * found / seconds


def plain(clip: Clip, _: Generator) -> Wave:
    """As recorded."""
    return clip.wave


def padded(clip: Clip, rng: Generator) -> Wave:
    """With 0.3 s of low noise at both ends."""
    longer = np.pad(normalize(clip.wave), int(0.3 * RATE))
    return add_noise(longer, coloured_noise(len(longer), rng), 45)


def noisy(clip: Clip, rng: Generator) -> Wave:
    """The same, in noise of 10 dB."""
    longer = np.pad(normalize(clip.wave), int(0.3 * RATE))
    return add_noise(longer, coloured_noise(len(longer), rng), 10)


def quiet(clip: Clip, rng: Generator) -> Wave:
    """The same as `padded`, 30 dB below full scale, in 16 bits."""
    wave = padded(clip, rng)
    softer = wave / np.abs(wave).max() * 10 ** (-30 / 20)
    return np.asarray(np.round(softer * 32767) / 32767, np.float32)


CONDITIONS: dict[str, Callable[[Clip, Generator], Wave]] = {
    "plain": plain,
    "padded": padded,
    "noise 10 dB": noisy,
    "quiet -30 dB": quiet,
}


def strings(clips: Sequence[Clip], count: int, rng: Generator) -> list[Example]:
    """Three to six clips in a row, up to 0.3 s of silence between them, in a little noise."""
    examples = []
    for _ in range(count):
        chosen = [clips[int(n)] for n in rng.integers(0, len(clips), int(rng.integers(3, 7)))]
        parts = [part for clip in chosen for part in (normalize(clip.wave), np.zeros(int(rng.uniform(0, 0.3) * RATE)))]
        wave = np.concatenate([np.zeros(RATE // 5), *parts]).astype(np.float32)
        noise = coloured_noise(len(wave), rng)
        examples.append(Example(add_noise(wave, noise, 45), tuple(word for clip in chosen for word in clip.words)))
    return examples


def scores(network: Network, bank: Bank, speaker: str, words: Sequence[str]) -> dict[str, float]:
    """Word error rates of a speaker's digits and of held-out voices' words, and what is heard in other speech."""
    rng = np.random.default_rng(0)
    clips = [clip for clip in bank.digits if clip.speaker == speaker]
    found = {}
    if clips:
        for name, make in CONDITIONS.items():
            found[name] = word_error_rate(network, (Example(make(clip, rng), clip.words) for clip in clips), words)
        found["strings"] = word_error_rate(network, strings(clips, 100, rng), words)
    held_out = (Example(clip.wave, clip.words) for clip in bank.held_out)
    found["synthetic"] = word_error_rate(network, held_out, words)
    found["false words a minute"] = false_words(network, (clip.wave for clip in bank.held_out_others), words)
    return {name: round(value, 4) for name, value in found.items()}
