"""Synthetic speech by eSpeak NG and Flite, if they are installed: many voices, at many speeds and pitches.

Knows their command lines. Does not know what is learned from it.
"""

import io
import random
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr
from clips import RATE, Clip, Wave, to_clip
from config import SynthesisConfig

ACCENTS = (
    "en-us",
    "en-us",
    "en-us",
    "en-gb",
    "en-gb-x-rp",
    "en-gb-scotland",
    "en-gb-x-gbclan",
    "en-gb-x-gbcwmd",
    "en-029",
)
VARIANTS = (
    *(f"m{n}" for n in (1, 2, 3, 4, 6, 7, 8)),
    *(f"f{n}" for n in range(1, 5)),
    *("adam", "Alex", "Alicia", "Andrea", "Andy", "Annie", "antonio", "aunty", "belinda", "benjamin", "boris", "caleb"),
    *(
        "david",
        "Denis",
        "Diogo",
        "ed",
        "edward",
        "Gene",
        "grandma",
        "grandpa",
        "Hugo",
        "iven",
        "Jacky",
        "john",
        "klatt",
    ),
    *("klatt2", "klatt4", "Lee", "linda", "marcelo", "Marco", "max", "michel", "miguel", "mike", "norbert"),
    *("pablo", "quincy", "rob", "sandro", "shelby", "Storm", "travis", "victor"),
)
HELD_OUT = ("m5", "f5", "paul", "steph", "robert", "anika", "Henrique")
HUMAN_VOICES = ("kal16", "awb", "rms", "slt")
"""Flite's, made from recordings of people."""

_QUIET = 0.01
"""Of the loudest sample: below it, a voice has not begun."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice of a program, as it is asked for.

    Args:
        command: what is called, without the text.
        name: of the speaker.
    """

    command: tuple[str, ...]
    name: str


def voices(count: int, rng: random.Random) -> list[Voice]:
    """To learn from, a sixth of them Flite's."""
    return [_human(rng, n) if n % 6 == 5 else _espeak(rng, rng.choice(VARIANTS), n) for n in range(count)]


def held_out_voices(count: int, rng: random.Random) -> list[Voice]:
    """To score with: variants of eSpeak's that are not learned from."""
    return [_espeak(rng, HELD_OUT[n % len(HELD_OUT)], n) for n in range(count)]


def _espeak(rng: random.Random, variant: str, number: int) -> Voice:
    accent = rng.choice(ACCENTS)
    speed, pitch = rng.randint(110, 210), rng.randint(15, 80)
    command = ("espeak-ng", "-v", f"{accent}+{variant}", "-s", str(speed), "-p", str(pitch), "--stdout")
    return Voice(command, f"espeak-{variant}-{number}")


def _human(rng: random.Random, number: int) -> Voice:
    voice, stretch = rng.choice(HUMAN_VOICES), rng.uniform(0.8, 1.4)
    pitch = rng.randint(150, 230) if voice == "slt" else rng.randint(80, 140)
    settings = ("--setf", f"duration_stretch={stretch:.2f}", "--setf", f"int_f0_target_mean={pitch}")
    return Voice(("flite", "-voice", voice, *settings, "-o", "/dev/stdout", "-t"), f"flite-{voice}-{number}")


def is_installed() -> bool:
    """Whether both programs are there."""
    return all(shutil.which(program) for program in ("espeak-ng", "flite"))


def say(text: str, voice: Voice) -> Wave:
    """Samples at 16 kHz, without silence around them; empty if the voice makes no sound.

    Raises:
        subprocess.CalledProcessError: the program has no such voice.
    """
    spoken = subprocess.run([*voice.command, text], check=True, capture_output=True).stdout
    # Written to a pipe, the header tells no length: raw samples after it.
    rate = int.from_bytes(spoken[24:28], "little")
    samples, _ = soundfile.read(
        io.BytesIO(spoken[44:]), dtype="float32", format="RAW", samplerate=rate, channels=1, subtype="PCM_16"
    )
    return trim(np.asarray(soxr.resample(samples, rate, RATE), np.float32))


def trim(wave: Wave) -> Wave:
    """Without the silence at both ends, but for 10 ms."""
    loud = np.flatnonzero(np.abs(wave) > _QUIET * np.abs(wave).max(initial=0))
    return wave[max(0, loud[0] - RATE // 100) : loud[-1] + RATE // 100] if len(loud) else wave[:0]


def say_words(words: Sequence[str], speakers: Sequence[Voice]) -> list[Clip]:
    """Every word by every voice."""
    said = ((say(f"{word}.", voice), word, voice.name) for voice in speakers for word in words)
    return [to_clip(wave, [word], name) for wave, word, name in said if len(wave)]


def say_others(
    texts: Sequence[str], config: SynthesisConfig, speakers: Sequence[Voice], rng: random.Random
) -> list[Clip]:
    """Words that are none of the vocabulary, one or two at a time."""
    clips = []
    for _ in range(config.others):
        voice = rng.choice(speakers)
        clips.append(to_clip(say(" ".join(rng.choices(texts, k=rng.randint(1, 2))), voice), (), voice.name))
    return [clip for clip in clips if len(clip.samples)]
