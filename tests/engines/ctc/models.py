"""Small language models and vocabularies of the tests."""

from services.engines.ctc.format import CtcFormat

BIGRAMS = r"""
\data\
ngram 1=5
ngram 2=3

\1-grams:
-1.0	<unk>
-99	<s>	-0.5
-0.9	</s>
-0.6	ab	-0.2
-0.8	ba	-0.1

\2-grams:
-0.3	<s> ab
-0.1	ab ba
-0.4	ba </s>

\end\
"""


def spelling(letters: str, **fields: object) -> CtcFormat:
    """Tokens: blank, delimiter, and one for each letter."""
    settings = {"blank": 0, "delimiter": 1, "frame_seconds": 0.02, "languages": ("en",), **fields}
    return CtcFormat.model_validate({"tokens": ("<pad>", "|", *letters), **settings})
