"""A language model's artefact folder as text: its tokens, its special ones, and what it recommends.

Reads ``tokenizer.json``, ``config.json``, and where they are ``generation_config.json``, ``tokenizer_config.json`` and
``chat_template.jinja``. Text of a prompt is obeyed (it may hold special tokens, as completions' prompts do); `spelled`
text is not. Knows no requests and no engine.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import tokenizers
from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter

from services.tasks.llm.spelling import spell

_OBJECT: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, JsonValue])


class Recommended(BaseModel):
    """How a model says it should be sampled, in ``generation_config.json``."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None


@dataclass(frozen=True)
class Specials:
    """Tokens that are no text.

    Args:
        bos: what a prompt begins with; None is nothing.
        texts: those that chat templates write, by their names (``bos_token``).
        ends: ids at which the model ends.
        silent: ids that are not part of an answer.
    """

    bos: int | None
    texts: dict[str, str]
    ends: frozenset[int]
    silent: frozenset[int]


class Vocabulary:
    """The text side of one language model; safe to use from several threads."""

    def __init__(
        self,
        tokenizer: tokenizers.Tokenizer,
        specials: Specials,
        spelling: Sequence[bytes],
        recommended: Recommended,
        template: str | None,
    ) -> None:
        self._tokenizer = tokenizer
        # Another one, since what a tokenizer does with special tokens in a text is a state of it.
        self._speller = tokenizers.Tokenizer.from_str(tokenizer.to_str())
        self._speller.encode_special_tokens = True
        self._spelling = spelling
        self.specials = specials
        self.recommended = recommended
        self.template = template

    @classmethod
    def load(cls, artefact: Path, size: int) -> Self:
        """Read an artefact folder; the model has ``size`` logits per token, at least one for each token."""
        tokenizer = tokenizers.Tokenizer.from_file(str(artefact / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        names = ("config.json", "generation_config.json", "tokenizer_config.json")
        config, generation, texts = (_read(artefact / name) for name in names)
        spelling = spell(tokenizer, size)
        specials = _specials(tokenizer, texts, [config, generation], size)
        recommended = Recommended.model_validate(generation)
        return cls(tokenizer, specials, spelling, recommended, _template(artefact, texts))

    @property
    def size(self) -> int:
        """Logits per token."""
        return len(self._spelling)

    @property
    def definition(self) -> str:
        """The tokenizer as ``tokenizer.json`` has it, without cutting and padding."""
        text: str = self._tokenizer.to_str()
        return text

    @property
    def controls(self) -> frozenset[str]:
        """Texts of the special tokens: those that have a meaning where a prompt holds them."""
        return frozenset(one.content for one in self._tokenizer.get_added_tokens_decoder().values() if one.special)

    def encode(self, text: str) -> list[int]:
        """Ids of a text, with what every prompt begins with; special tokens in it are obeyed."""
        return self.opened(self.obeyed(text))

    def opened(self, ids: list[int]) -> list[int]:
        """The ids with what every prompt begins with; not twice."""
        bos = self.specials.bos
        return ids if bos is None or ids[:1] == [bos] else [bos, *ids]

    def obeyed(self, text: str) -> list[int]:
        """Ids of a text; special tokens in it are obeyed."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def spelled(self, text: str) -> list[int]:
        """Ids of a text; special tokens in it are text."""
        ids: list[int] = self._speller.encode(text, add_special_tokens=False).ids
        return ids

    def bytes_of(self, token: int) -> bytes:
        """The bytes a token stands for."""
        return self._spelling[token]

    def written(self, token: int) -> bytes:
        """What a token adds to an answer; special ones add nothing."""
        return b"" if token in self.specials.silent else self._spelling[token]

    def text(self, tokens: Iterable[int]) -> str:
        """What tokens add to an answer; bytes that are no characters are shown as U+FFFD."""
        return b"".join(map(self.written, tokens)).decode(errors="replace")


def _read(file: Path) -> dict[str, Any]:
    return _OBJECT.validate_json(file.read_bytes()) if file.is_file() else {}


def _specials(
    tokenizer: tokenizers.Tokenizer, texts: dict[str, Any], configs: Sequence[dict[str, Any]], size: int
) -> Specials:
    named = {
        name: value["content"] if isinstance(value, dict) else value
        for name in ("bos_token", "eos_token", "pad_token", "unk_token")
        if isinstance(value := texts.get(name), dict | str)
    }
    found = [config.get("eos_token_id") for config in configs]
    ends = {token for own in found for token in (own if isinstance(own, list) else [own]) if isinstance(token, int)}
    eos = tokenizer.token_to_id(named["eos_token"]) if "eos_token" in named else None
    ends |= set() if eos is None else {eos}
    silent = {token for token, added in tokenizer.get_added_tokens_decoder().items() if added.special}
    bos = _bos(tokenizer, texts, named, ends)
    return Specials(bos, named, frozenset(token for token in ends if 0 <= token < size), frozenset(silent | ends))


def _bos(
    tokenizer: tokenizers.Tokenizer, texts: dict[str, Any], named: dict[str, str], ends: Container[int]
) -> int | None:
    """What the tokenizer puts first, unless its configuration says otherwise."""
    bos: int | None = tokenizer.token_to_id(named["bos_token"]) if "bos_token" in named else None
    wanted = texts.get("add_bos_token")
    if wanted is None:
        first = tokenizer.encode("", add_special_tokens=True).ids[:1]
        return first[0] if first and first[0] not in ends else None
    return bos if wanted else None


def _template(artefact: Path, texts: dict[str, Any]) -> str | None:
    """The chat template: a file of its own, or one in the configuration, where several have names."""
    file = artefact / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    found = texts.get("chat_template")
    if isinstance(found, list):
        found = {one["name"]: one["template"] for one in found}.get("default")
    return found
