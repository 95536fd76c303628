"""Spoken words as they are written: figures, capitals, and a full stop."""

import re

from text_to_num import alpha2digit

_LANGUAGES = frozenset({"de", "en", "es", "fr", "it", "nl", "pt"})
"""In which numbers are known."""

_ENGLISH_I = re.compile(r"\bi(?=\b|')")


def written(text: str, language: str) -> str:
    """``twenty five dollars i think`` -> ``25 dollars I think.``; in other languages, numbers stay words."""
    text = " ".join(text.split())
    if not text:
        return ""
    if language in _LANGUAGES:
        text = alpha2digit(text, language)
    if language == "en":
        text = _ENGLISH_I.sub("I", text)
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".!?…" else f"{text}."
