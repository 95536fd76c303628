"""Classification: each text with a bar per label."""

from collections.abc import Mapping
from html import escape
from typing import Any


def show(request: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    """Bars as wide as their probability; the texts stand above them."""
    text = request.get("text", ())
    texts = [text] if isinstance(text, str) else text
    return "".join(
        f'<section class="result"><p class="text">{escape(one)}</p>{"".join(map(_bar, result["labels"]))}</section>'
        for one, result in zip(texts, answer["results"], strict=True)
    )


def _bar(label: Mapping[str, Any]) -> str:
    name, score = escape(str(label["label"])), float(label["score"])
    return (
        f'<div class="bar"><span class="label">{name}</span>'
        f'<span class="track"><span class="fill" style="width:{100 * score:.1f}%"></span></span>'
        f'<span class="score">{100 * score:.1f} %</span></div>'
    )
