"""Cross-entropy over a large vocabulary without ever holding all its logits.

On a CPU, writing and reading the logits of a whole batch takes longer than computing them; here a few hundred tokens
go through at a time, and their gradient is taken on the way. Knows no network.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

_CHUNK = 512
"""Tokens at a time: their logits stay in the processor's cache."""


class VocabularyLoss(Function):
    """Mean label-smoothed cross-entropy of ``states @ table.T``."""

    @staticmethod
    def forward(context: Any, states: Tensor, table: Tensor, targets: Tensor, smoothing: float) -> Tensor:
        """The loss.

        Args:
            context: of autograd.
            states: [tokens, width].
            table: [vocabulary, width].
            targets: [tokens], ids.
            smoothing: share of the probability that is spread over the vocabulary.
        """
        half = table.to(states.dtype)
        state_gradient, table_gradient = torch.empty_like(states), torch.zeros_like(table)
        loss = torch.zeros((), dtype=torch.float32, device=states.device)
        count, words = targets.shape[0], table.shape[0]
        for at in range(0, count, _CHUNK):
            part, right = states[at : at + _CHUNK], targets[at : at + _CHUNK, None]
            logits = (part @ half.T).float()
            total = logits.logsumexp(1, keepdim=True)
            chosen = logits.gather(1, right)
            loss += (total - (1 - smoothing) * chosen - smoothing * logits.mean(1, keepdim=True)).sum()
            gradient = logits.sub_(total).exp_().sub_(smoothing / words)
            gradient.scatter_add_(1, right, torch.full_like(total, smoothing - 1))
            gradient = gradient.to(states.dtype)
            state_gradient[at : at + _CHUNK] = gradient @ half
            table_gradient += (gradient.T @ part).float()
        context.save_for_backward(state_gradient / count, table_gradient / count)
        return loss / count

    @staticmethod
    def backward(context: Any, outer: Tensor) -> tuple[Tensor, Tensor, None, None]:
        """Gradients of states and table."""
        states, table = context.saved_tensors
        return states * outer.to(states.dtype), table * outer, None, None
