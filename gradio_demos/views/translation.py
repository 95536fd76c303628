"""Translation: each text in its new language, other translations, and what its words were made from."""

from collections.abc import Mapping
from html import escape
from typing import Any


def show(request: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    """The texts and their translations in order; heat maps where alignment was asked for."""
    text = request.get("text", ())
    texts = [text] if isinstance(text, str) else text
    return "".join(_result(one, result) for one, result in zip(texts, answer["results"], strict=True))


def _result(text: str, result: Mapping[str, Any]) -> str:
    facts = f"{result['source']} → {result['target']}, score {float(result['score']):.2f}"
    flags = "".join(f' <mark title="see the schema">{escape(str(flag))}</mark>' for flag in result.get("flags", ()))
    others = "".join(
        f"<li>{escape(str(other['translation']))} <small>{float(other['score']):.2f}</small></li>"
        for other in result.get("alternatives", ())
    )
    return (
        f'<section class="result"><p class="text">{escape(text)}</p>'
        f'<p class="translation">{escape(str(result["translation"]))}</p>'
        f"<p><small>{escape(facts)}</small>{flags}</p>{f'<ul>{others}</ul>' if others else ''}"
        f"{''.join(map(_heat_map, result.get('alignment', ())))}</section>"
    )


def _heat_map(alignment: Mapping[str, Any]) -> str:
    """A row for each token of the translation, a column for each of the sentence; the darker, the more it counted."""
    head = "".join(f"<th>{escape(str(token).strip())}</th>" for token in alignment["source"])
    rows = "".join(
        f"<tr><th>{escape(str(row['token']).strip())}</th>{''.join(map(_cell, row['weights']))}</tr>"
        for row in alignment["target"]
    )
    return f'<div class="scroll"><table class="heat"><tr><th></th>{head}</tr>{rows}</table></div>'


def _cell(weight: float) -> str:
    share = min(1.0, max(0.0, float(weight)))
    return f'<td style="--weight:{100 * share:.0f}%" title="{share:.2f}"></td>'
