"""The tokenizer of a checkpoint, and what is read from it: special tokens, languages, tokens that no speech has."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tokenizers import Tokenizer

from models.export import ExportError
from services.core.catalog import ModelSpec
from services.engines.whisper.settings import WhisperSettings

MULTILINGUAL = 51_865
"""Tokens from which on a checkpoint is multilingual."""

TIMESTAMPS = 1501

_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")
_ISO = {"jw": "jv"}
"""Where Whisper's code is not that of ISO 639."""

_MARKS = [*'"#()*+/:;<=>@[\\]^_`{|}~「」『』', "<<", ">>", "<<<", ">>>", "--", "---", "-(", "-[", "('", '("']
_MARKS += ["((", "))", "(((", ")))", "[[", "]]", "{{", "}}", "♪♪", "♪♪♪"]
_NOTES = [*"♩♪♫♬♭♮♯"]
_TASKS = ("transcribe", "translate", "startoftranscript", "startoflm", "startofprev")


@dataclass(frozen=True)
class Text:
    """What the tokens of a checkpoint mean.

    Args:
        tokenizer: as published.
        size: of the vocabulary, timestamps included.
        languages: token by ISO 639 code, of those that are to be served; empty: English only.
    """

    tokenizer: Tokenizer
    size: int
    languages: Mapping[str, int]

    @cached_property
    def vocabulary(self) -> list[str]:
        """Tokens by id; those without a name in the tokenizer get one.

        CTranslate2 takes a checkpoint for multilingual that has an empty token, as the published ones do.
        """
        first = self.id("notimestamps") + 1
        named = {first + number: f"<|{number * 0.02:.2f}|>" for number in range(TIMESTAMPS)}
        named |= {self.id("endoftext") - 1: ""} if self.languages else {}
        tokens = [self.tokenizer.id_to_token(number) for number in range(self.size)]
        return [named.get(n, f"<unused {n}>") if token is None else token for n, token in enumerate(tokens)]

    def id(self, name: str) -> int:
        """Of a special token.

        Raises:
            ExportError: it is not there.
        """
        found = self.tokenizer.token_to_id(f"<|{name}|>")
        if found is None:
            raise ExportError(f"the tokenizer has no <|{name}|>: it is not that of a Whisper checkpoint")
        return int(found)

    def settings(self, mels: int, positions: int, compute_type: str) -> WhisperSettings:
        """For the engine."""
        return WhisperSettings(
            start=self.id("startoftranscript"),
            end=self.id("endoftext"),
            previous=self.id("startofprev"),
            no_timestamps=self.id("notimestamps"),
            first_timestamp=self.id("notimestamps") + 1,
            transcribe=self.id("transcribe"),
            translate=self.id("translate"),
            languages=self.languages,
            mels=mels,
            positions=positions,
            compute_type=compute_type,
        )

    def suppressed(self) -> list[int]:
        """Tokens that stand for no speech, as openai-whisper has them: marks, notes, tasks.

        A hyphen or an apostrophe is kept within a word, and is suppressed only where a word would start with it.
        """
        found = {self._ids(" -")[0], self._ids(" '")[0]}
        for mark in (*_MARKS, *_NOTES):
            for ids in (self._ids(mark), self._ids(f" {mark}")):
                if len(ids) == 1 or mark in _NOTES:  # a note is several bytes: its first token begins nothing else
                    found.add(ids[0])
        silence = [self.tokenizer.token_to_id(token) for token in ("<|nospeech|>", "<|nocaptions|>")]
        return sorted(found | {self.id(name) for name in _TASKS} | {number for number in silence if number is not None})

    def suppressed_first(self) -> list[int]:
        """Tokens of which no text is made: a space, the end."""
        return [*self._ids(" "), self.id("endoftext")]

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)


def open_text(spec: ModelSpec, sources: Mapping[str, Path], size: int) -> Text:
    """The tokenizer of the source ``tokenizer``, or of ``weights`` if there is no such source.

    Args:
        spec: its languages are taken; if it has none, all of the checkpoint.
        sources: folders by role.
        size: of the checkpoint's vocabulary.

    Raises:
        ExportError: there is none, it belongs to another checkpoint, or it lacks a language of the spec.
    """
    tokenizer = _opened(sources.get("tokenizer", sources["weights"]))
    text = Text(tokenizer, size, {})
    if (own := text.id("notimestamps") + 1 + TIMESTAMPS) != size:
        raise ExportError(f"{spec.id}: the tokenizer is one for {own} tokens, the network has {size}: take its own")
    known = _known(text) if size >= MULTILINGUAL else {}
    return Text(tokenizer, size, _chosen(spec, known))


def _opened(folder: Path) -> Tokenizer:
    if (folder / "tokenizer.json").is_file():
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    raise ExportError(
        f"{folder} has no tokenizer.json; name a source 'tokenizer': a folder with that of a checkpoint of the same"
        " kind, as hub:openai/whisper-tiny@<commit>"
    )


def _known(text: Text) -> dict[str, int]:
    """The languages of a checkpoint, by its own codes: their tokens are between those two."""
    found = {}
    for number in range(text.id("startoftranscript") + 1, text.id("translate")):
        if match := _LANGUAGE.fullmatch(text.tokenizer.id_to_token(number) or ""):
            found[match[1]] = number
    return found


def _chosen(spec: ModelSpec, known: Mapping[str, int]) -> dict[str, int]:
    if not spec.languages:
        return {_ISO.get(code, code): number for code, number in known.items()}
    if missing := [name for name in spec.languages.values() if name not in (known or {"en": 0})]:
        raise ExportError(
            f"{spec.id}: the checkpoint does not know {', '.join(missing)}; it knows {', '.join(known) or 'en'}"
        )
    return {code: known[name] for code, name in spec.languages.items()} if known else {}
