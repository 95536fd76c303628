"""How well a network tells words, in several conditions. Knows clips and tokens."""

from collections.abc import Callable, Iterable, Sequence

import jiwer
import numpy as np
import torch
from augmentation import add_noise, coloured_noise, normalize
from bank import Bank
from clips import RATE, Clip, Wave
from features import Trunk
from mixing import Example, Span
from numpy.random import Generator

from models.export.bundled_ctc.network import Network
from services.engines.ctc.beam import PrefixSearch
from services.engines.ctc.format import CtcFormat
from services.engines.ctc.posteriors import posteriors
from services.engines.ctc.scoring import EachToken
from services.engines.ctc.texts import Width


class Spotter:
    """Trunk and network: waveform -> words, as the engine tells them.

    Args:
        trunk: hears.
        network: tells.
        form: how what it tells is read.
    """

    def __init__(self, trunk: Trunk, network: Network, form: CtcFormat) -> None:
        self._trunk, self._network, self._form = trunk, network, form
        scorer = EachToken(len(form.tokens), form.word_bonus)
        self._search = PrefixSearch(form.blank, form.delimiter, scorer, Width(form.beam))

    @torch.inference_mode()
    def written(self, wave: Wave) -> list[str]:
        """The likeliest words."""
        states = torch.from_numpy(self._trunk.states(wave))[None]
        logits = self._network(states, torch.ones_like(states[:, :, :1]))[0].numpy()
        best = self._search.texts(posteriors(logits, self._form).chances)[0]
        return [self._form.tokens[label] for label in best.labels]

    def word_error_rate(self, examples: Iterable[Example]) -> float:
        """Of all of them together."""
        pairs = [(" ".join(example.words), " ".join(self.written(example.wave))) for example in examples]
        return float(jiwer.wer([said for said, _ in pairs], [found for _, found in pairs]))

    def false_words(self, waves: Iterable[Wave]) -> float:
        """Words per minute that are written for other speech."""
        found, seconds = 0, 0.0
        for wave in waves:
            found += len(self.written(wave))
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


def at_level(decibels: float) -> Callable[[Clip, Generator], Wave]:
    """As `padded`, its loudest sample so far below full scale, in 16 bits."""

    def make(clip: Clip, rng: Generator) -> Wave:
        wave = padded(clip, rng)
        scaled = wave / np.abs(wave).max() * 10 ** (decibels / 20)
        return np.asarray(np.round(scaled * 32767) / 32767, np.float32)

    return make


CONDITIONS: dict[str, Callable[[Clip, Generator], Wave]] = {
    "plain": plain,
    "padded": padded,
    "noise 10 dB": noisy,
    "peak -30 dB": at_level(-30),
    "peak 0 dB": at_level(0),
}


def said(wave: Wave, words: Sequence[str]) -> Example:
    """An example to score with: where its words are does not matter."""
    return Example(wave, tuple(Span(0, len(wave), word) for word in words))


def strings(clips: Sequence[Clip], count: int, rng: Generator) -> list[Example]:
    """Three to six clips in a row, up to 0.3 s of silence between them, in a little noise."""
    examples = []
    for _ in range(count):
        chosen = [clips[int(n)] for n in rng.integers(0, len(clips), int(rng.integers(3, 7)))]
        parts = [part for clip in chosen for part in (normalize(clip.wave), np.zeros(int(rng.uniform(0, 0.3) * RATE)))]
        wave = np.concatenate([np.zeros(RATE // 5), *parts]).astype(np.float32)
        noise = coloured_noise(len(wave), rng)
        examples.append(said(add_noise(wave, noise, 45), [word for clip in chosen for word in clip.words]))
    return examples


def scores(spotter: Spotter, bank: Bank, speaker: str) -> dict[str, float]:
    """Word error rates of a speaker's digits and of held-out voices' words, and what is heard in other speech."""
    rng = np.random.default_rng(0)
    clips = [clip for clip in bank.digits if clip.speaker == speaker]
    found = {}
    if clips:
        for name, make in CONDITIONS.items():
            found[name] = spotter.word_error_rate(said(make(clip, rng), clip.words) for clip in clips)
        found["strings"] = spotter.word_error_rate(strings(clips, 100, rng))
    found["synthetic"] = spotter.word_error_rate(said(clip.wave, clip.words) for clip in bank.held_out)
    found["false words a minute"] = spotter.false_words(clip.wave for clip in bank.held_out_others)
    return {name: round(value, 4) for name, value in found.items()}


def mean(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of several speakers' scores."""
    return {name: round(float(np.mean([row[name] for row in rows])), 4) for name in rows[0]}
