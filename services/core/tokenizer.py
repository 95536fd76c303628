"""Text -> token ids for encoder models, with the model's length limit enforced.

Knows one ``tokenizer.json``. Does not know labels, tasks or engines.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tokenizers

from services.core.engine import TokenIds
from services.core.errors import Code, ServingError

_LONGEST_TOKEN = 100
"""Characters of the longest word a WordPiece vocabulary splits."""


class Tokenizer:
    """A tokenizer and the longest input its model takes.

    Args:
        file: a ``tokenizer.json``.
        max_tokens: the model's limit, special tokens included.
        model: id named in errors.
    """

    def __init__(self, file: Path, max_tokens: int, model: str) -> None:
        self._tokenizer = tokenizers.Tokenizer.from_file(str(file))
        # Files often carry a fixed truncation and padding (128 for MiniLM); the limit here is the model's own,
        # and batches are padded by the engine.
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._special = self._tokenizer.num_special_tokens_to_add(is_pair=False)
        self._max_tokens = max_tokens
        self._model = model

    def encode(self, texts: Sequence[str], truncate: bool) -> list[TokenIds]:
        """Token ids of each text, int64, special tokens included.

        Raises:
            ServingError: INVALID_ARGUMENT for a text with no tokens, or with too many unless ``truncate``.
        """
        if truncate:  # what is sure to be cut need not be tokenised first
            texts = [text[: self._max_tokens * _LONGEST_TOKEN] for text in texts]
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [self._checked(index, encoding.ids, truncate) for index, encoding in enumerate(encodings)]

    def _checked(self, index: int, ids: list[int], truncate: bool) -> TokenIds:
        if len(ids) == self._special:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"text[{index}]: nothing is left of this text once control characters are removed; give some words.",
                f"text[{index}]",
            )
        if len(ids) > self._max_tokens:
            if not truncate:
                raise ServingError(
                    Code.INVALID_ARGUMENT,
                    f"text[{index}]: {len(ids)} tokens, and {self._model} takes at most {self._max_tokens};"
                    " shorten it or set truncate to true.",
                    f"text[{index}]",
                )
            # With special tokens, the last is the separator the model expects at the end.
            ids = [*ids[: self._max_tokens - 1], ids[-1]] if self._special else ids[: self._max_tokens]
        return np.array(ids, dtype=np.int64)
