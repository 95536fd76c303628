"""The recogniser: windows of up to 30 s from many requests, encoded and decoded together."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import ctranslate2
import numpy as np

from services.core.engine import EngineOptions
from services.core.errors import Code, ServingError
from services.core.speech import Abilities, Recognition, Recognized, Segment, Utterance
from services.engines.whisper.decoding import FALLBACK, Decoded, Window, decode
from services.engines.whisper.encoder import Encoder, open_encoder
from services.engines.whisper.features import WINDOW_SECONDS, Floats, LogMel
from services.engines.whisper.segments import Stretch, stretches
from services.engines.whisper.settings import WhisperSettings
from services.engines.whisper.text import WhisperText
from services.engines.whisper.words import with_words

_ENGLISH = "en"

Language = tuple[str, float]
"""ISO 639 code, and how sure the model is of it."""


class WhisperRecognizer:
    """One model with a worker per lane; calls that come at the same time run at the same time.

    Decoding is greedy, so what is said of an utterance does not depend on its batch; what is sampled at a temperature
    depends on chance.
    """

    def __init__(
        self,
        model: ctranslate2.models.Whisper,
        encoder: Encoder,
        settings: WhisperSettings,
        text: WhisperText,
        context: int,
    ) -> None:
        self._networks: tuple[ctranslate2.models.Whisper, Encoder] | None = (model, encoder)
        self._settings = settings
        self._text = text
        self._context = context
        self._log_mel = LogMel(settings.mels)
        self._codes = {text.name(token): code for code, token in settings.languages.items()}

    @classmethod
    def load(cls, artefact: Path, options: EngineOptions) -> Self:
        """Open ``ct2/``, ``encoder.onnx``, ``tokenizer.json`` and ``whisper.json``."""
        settings = WhisperSettings.load(artefact)
        context = min(options.context or settings.positions, settings.positions)
        model = ctranslate2.models.Whisper(
            str(artefact / "ct2"),
            device="cuda" if options.providers[0].startswith("CUDA") else "cpu",
            compute_type=settings.compute_type,
            inter_threads=options.lanes,
            intra_threads=options.threads,
        )
        encoder = open_encoder(artefact, model, options)
        return cls(model, encoder, settings, WhisperText.load(artefact, settings, context), context)

    @property
    def abilities(self) -> Abilities:
        """Prompts, hot words, samples, word times; other languages, and into English, as the checkpoint does."""
        return Abilities(
            seconds=float(WINDOW_SECONDS),
            languages=tuple(self._settings.languages) or (_ENGLISH,),
            translates=self._settings.multilingual,
            prompts=True,
            samples=True,
            hot_words=True,
        )

    def check(self, recognition: Recognition) -> None:
        """Its temperature is one.

        Raises:
            ServingError: it is not.
        """
        if recognition.temperature is not None and not 0.0 <= recognition.temperature <= 1.0:
            raise ServingError(Code.INVALID_ARGUMENT, "temperature: give a number from 0 to 1.", "temperature")

    def run(self, batch: Sequence[Utterance]) -> list[Recognized]:
        """One batch, of any languages and tasks.

        Raises:
            ValueError: an utterance is longer than a window, or empty.
        """
        if self._networks is None:
            raise RuntimeError("the engine is closed")
        model, encoder = self._networks
        if not batch:
            return []
        if not all(0 < one.seconds <= WINDOW_SECONDS for one in batch):
            raise ValueError(f"an utterance is empty or longer than {WINDOW_SECONDS} s")
        encoded = encoder.encode(self._log_mel.batch([one.samples for one in batch]))
        languages = self._languages(model, batch, encoded)
        windows = [self._window(one, language) for one, (language, _) in zip(batch, languages, strict=True)]
        decoded = decode(model, self._text, encoded, windows, self._context)
        found = [self._recognized(*row) for row in zip(batch, languages, decoded, strict=True)]
        return with_words(model, self._text, encoded, list(zip(batch, found, strict=True)))

    def close(self) -> None:
        """Drop the networks. Pipelines may share an engine, so it may be closed more than once."""
        self._networks = None

    def _languages(
        self, model: ctranslate2.models.Whisper, batch: Sequence[Utterance], encoded: Floats
    ) -> list[Language]:
        """Those that were given; the others as the model hears them."""
        found = [(one.recognition.language or _ENGLISH, 1.0) for one in batch]
        unknown = [number for number, one in enumerate(batch) if one.recognition.language is None]
        if unknown and self._settings.multilingual:
            inputs = ctranslate2.StorageView.from_array(np.ascontiguousarray(encoded[unknown]))
            for number, heard in zip(unknown, model.detect_language(inputs), strict=True):
                name, probability = heard[0]
                found[number] = (self._codes[name], min(1.0, probability))
        return found

    def _window(self, utterance: Utterance, language: str) -> Window:
        how = utterance.recognition
        prompt = (*self._text.before(how), *self._text.start(language, translate=how.translate))
        return Window(prompt, FALLBACK if how.temperature is None else (how.temperature,))

    def _recognized(self, utterance: Utterance, language: Language, decoded: Decoded) -> Recognized:
        cut = [] if decoded.silent else stretches(decoded.tokens, self._settings, utterance.seconds)
        return Recognized(tuple(self._segment(stretch, decoded) for stretch in cut), *language)

    def _segment(self, stretch: Stretch, decoded: Decoded) -> Segment:
        return Segment(
            self._text.decode(stretch.tokens).strip(),
            stretch.start,
            stretch.end,
            decoded.score,
            tokens=stretch.tokens,
            no_speech=decoded.no_speech,
            compression_ratio=decoded.compression,
            temperature=decoded.temperature,
        )
