"""Tokenizer of a checkpoint -> the files `services.core.codec` reads: languages, and the vocabulary by id.

Marian's optional tidying of punctuation before tokenization (sacremoses) is left out, as transformers leaves it out
where that package is not installed.
"""

import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from transformers import M2M100Tokenizer, MarianTokenizer

from models.export import ExportError
from models.export.seq2seq.checkpoint import Checkpoint, tokens
from services.core.catalog import ModelSpec
from services.core.codec import Language, TextFormat

_SHOWN = 12
"""Known languages that an error lists."""


def write_text(checkpoint: Checkpoint, spec: ModelSpec, target: Path, holders: tuple[str, ...] = ()) -> None:
    """Write ``text.json`` and the vocabulary.

    Raises:
        ExportError: the catalog names a language that the checkpoint does not know.
    """
    languages = {iso: _language(checkpoint, spec, iso, code) for iso, code in spec.languages.items()}
    text = TextFormat(
        pieces="sentencepiece" if _has_models(checkpoint) else "tokenizers",
        template=_template(checkpoint, spec),
        languages=languages,
        after=(checkpoint.model.config.eos_token_id,),
        silent=_silent(checkpoint),
        unknown=checkpoint.tokenizer.unk_token_id,
        holders=holders,
    )
    (target / "text.json").write_text(text.model_dump_json(indent=2, exclude_defaults=True), encoding="utf-8")
    _write_vocabulary(checkpoint, target)


def _language(checkpoint: Checkpoint, spec: ModelSpec, iso: str, code: str) -> Language:
    family = {"marian": _marian, "t5": _t5, "mt5": _t5}.get(checkpoint.family, _tagged)
    return family(checkpoint, spec, iso, code)


def _marian(checkpoint: Checkpoint, spec: ModelSpec, iso: str, code: str) -> Language:
    """Models of several target languages are told which by ``>>code<<`` before the text."""
    known = [token[2:-2] for token in checkpoint.tokenizer.supported_language_codes]
    targets = {pair.partition("-")[2] for pair in spec.pairs} or set(spec.languages)
    told: tuple[int, ...] = ()
    if known and iso in targets:
        _require(spec, iso, code, known)
        told = (checkpoint.tokenizer.convert_tokens_to_ids(f">>{code}<<"),)
    return Language(name=code, target=told, after=(checkpoint.tokenizer.eos_token_id,))


def _t5(checkpoint: Checkpoint, spec: ModelSpec, iso: str, code: str) -> Language:
    """Languages are English words in the text."""
    prefixes = [str(task.get("prefix", "")) for task in (checkpoint.model.config.task_specific_params or {}).values()]
    words = " ".join(prefix for prefix in prefixes if prefix.startswith("translate")).replace(":", "").split()
    known = list(dict.fromkeys(word for word in words if word.istitle()))
    if known or code == iso:  # without a list, only the default is sure to be wrong
        _require(spec, iso, code, known or ["English", "German", "French"])
    return Language(name=code, after=(checkpoint.tokenizer.eos_token_id,))


def _tagged(checkpoint: Checkpoint, spec: ModelSpec, iso: str, code: str) -> Language:
    """Language tokens, where the tokenizer itself puts them (M2M-100, NLLB, mBART)."""
    tokenizer = checkpoint.tokenizer
    ids = _tags(checkpoint)
    _require(spec, iso, code, ids)
    tokenizer.src_lang = code
    return Language(
        name=code, before=tuple(tokenizer.prefix_tokens), after=tuple(tokenizer.suffix_tokens), prefix=(ids[code],)
    )


def _tags(checkpoint: Checkpoint) -> dict[str, int]:
    """Language token ids by the checkpoint's own codes."""
    tokenizer = checkpoint.tokenizer
    ids = getattr(tokenizer, "lang_code_to_id", None) or {
        str(token): tokenizer.convert_tokens_to_ids(str(token)) for token in tokenizer.extra_special_tokens
    }
    standard = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id, tokenizer.pad_token_id}
    return {code: number for code, number in ids.items() if number not in standard}


def _require(spec: ModelSpec, iso: str, code: str, known: Collection[str]) -> None:
    if code not in known:
        some = ", ".join(list(known)[:_SHOWN]) or "none; its folder may lack tokenizer.json"
        raise ExportError(
            f"{spec.id}: the checkpoint knows no language {code!r}; in the catalog write 'languages: {{{iso}: <its own"
            f" code>}}'. It knows {len(known)}, among them: {some}"
        )


def _template(checkpoint: Checkpoint, spec: ModelSpec) -> str:
    """What T5 wants to read before a text."""
    if checkpoint.family != "t5":
        return ""
    if spec.languages:
        return "translate {source} to {target}: "
    task = (checkpoint.model.config.task_specific_params or {}).get(spec.task, {})
    return str(task.get("prefix", "")).replace("{", "{{").replace("}", "}}")


def _silent(checkpoint: Checkpoint) -> frozenset[int]:
    """Special and language tokens, and what the tokenizer has no token for."""
    tokenizer, config = checkpoint.tokenizer, checkpoint.model.config
    unused = {number for number, token in enumerate(tokens(checkpoint)) if token == f"<unused {number}>"}
    tagged = set(_tags(checkpoint).values()) if checkpoint.family in ("m2m_100", "mbart") else set()
    if checkpoint.family == "marian":
        tagged = set(tokenizer.convert_tokens_to_ids(tokenizer.supported_language_codes))
    past = set(range(len(tokens(checkpoint)), config.vocab_size))
    return frozenset({*tokenizer.all_special_ids, *tagged, *unused, *past})


def _has_models(checkpoint: Checkpoint) -> bool:
    return isinstance(checkpoint.tokenizer, MarianTokenizer | M2M100Tokenizer)


def _write_vocabulary(checkpoint: Checkpoint, target: Path) -> None:
    tokenizer = checkpoint.tokenizer
    if not _has_models(checkpoint):
        bare = _bare(json.loads(tokenizer.backend_tokenizer.to_str()), set(tokenizer.all_special_tokens))
        (target / "tokenizer.json").write_text(json.dumps(bare, ensure_ascii=False), encoding="utf-8")
        return
    models = tokenizer.spm_files if isinstance(tokenizer, MarianTokenizer) else [tokenizer.spm_file]
    for role, file in zip(("source", "target"), models, strict=False):
        shutil.copy(file, target / f"{role}.model")
    vocabulary = json.dumps(tokens(checkpoint), ensure_ascii=False, indent=0)
    (target / "vocabulary.json").write_text(vocabulary, encoding="utf-8")


def _bare(tokenizer: dict[str, Any], special: set[str]) -> dict[str, Any]:
    """A ``tokenizer.json`` that never takes text for a special token: it has none.

    Unigram models hold them among their pieces; with a space in front, which every text has lost by then, they match
    nothing any more.
    """
    tokenizer |= {"post_processor": None, "truncation": None, "padding": None}
    tokenizer["added_tokens"] = [token for token in tokenizer["added_tokens"] if not token["special"]]
    if tokenizer["model"]["type"] == "Unigram":
        vocabulary = tokenizer["model"]["vocab"]
        tokenizer["model"]["vocab"] = [[f" {p}" if p in special else p, score] for p, score in vocabulary]
    return tokenizer
