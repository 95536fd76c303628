"""What a sequence's own tokens, and its caller's wishes, add to its logits.

Knows the tokens that came and the order of the changes: biases, repetition, presence and frequency, as vLLM has it.
"""

from collections.abc import Sequence

import numpy as np

from services.core.generation.records import Row, SamplingParams


class Penalties:
    """Those of one sequence.

    Args:
        params: which, and how much.
        prompt: ids that a repetition penalty counts as seen.
        vocabulary: how many tokens there are.
    """

    def __init__(self, params: SamplingParams, prompt: Sequence[int], vocabulary: int) -> None:
        self._params = params
        self._biased = np.fromiter(params.logit_bias.keys(), np.int64, len(params.logit_bias))
        self._biases = np.fromiter(params.logit_bias.values(), np.float32, len(params.logit_bias))
        self._repetition = params.repetition_penalty != 1
        self._occurrence = bool(params.presence_penalty or params.frequency_penalty)
        self._seen = np.unique(np.array(prompt, np.int64)) if self._repetition else np.empty(0, np.int64)
        self._written = np.empty(0, np.int64)
        # One count per token of the vocabulary, as only sequences with penalties need it.
        self._counts = np.zeros(vocabulary if self._repetition or self._occurrence else 0, np.int32)

    def apply(self, row: Row) -> None:
        """Change the logits of the next token, in place."""
        if self._biased.size:
            row[self._biased] += self._biases
        if self._repetition:
            logits = row[self._seen]
            factor = self._params.repetition_penalty
            row[self._seen] = np.where(logits > 0, logits / factor, logits * factor)
        if self._occurrence and self._written.size:
            counts = self._counts[self._written]
            row[self._written] -= self._params.presence_penalty + self._params.frequency_penalty * counts

    def note(self, token: int) -> None:
        """Take note of the token that came."""
        if not self._counts.size:
            return
        self._counts[token] += 1
        if self._counts[token] > 1:
            return
        self._written = np.append(self._written, token)
        if self._repetition and token not in self._seen:
            self._seen = np.append(self._seen, token)
