"""Training of the network on what the trunk heard: about a minute, so it is never left half way."""

import math
from collections.abc import Iterator
from typing import cast

import torch
from batches import Batch, batches, hide
from config import Config, TrainingConfig
from features import Heard
from numpy.random import Generator
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.export.bundled_ctc.network import Network, NetworkSizes
from models.export.bundled_ctc.trunk import WIDTH

_CLIP = 2.0
"""Largest norm of a step's gradient."""


def sizes(config: Config) -> NetworkSizes:
    """The network's."""
    return NetworkSizes(inputs=WIDTH, tokens=len(config.tokens), **config.network.model_dump())


def rate(step: int, config: TrainingConfig) -> float:
    """Learning rate: linearly up, then down along a cosine."""
    done = step / config.steps
    if done < config.warmup:
        return config.peak_rate * done / config.warmup
    return config.peak_rate * 0.5 * (1 + math.cos(math.pi * (done - config.warmup) / (1 - config.warmup)))


def train(config: Config, heard: list[Heard], rng: Generator) -> Network:
    """The average of the weights of a run."""
    training = config.training
    network = Network(sizes(config), training.dropout).train()
    keep = get_ema_multi_avg_fn(training.average)  # type: ignore[no-untyped-call]
    average = AveragedModel(network, multi_avg_fn=keep)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=training.weight_decay)
    cut = batches(heard, config.tokens, training.batch, rng)
    for step in range(training.steps):
        optimizer.param_groups[0]["lr"] = rate(step, training)
        _advance(network, optimizer, cut, rng)
        average.update_parameters(network)
    return weighed(cast("Network", average.module).eval(), config)


def weighed(network: Network, config: Config) -> Network:
    """With what the recipe adds to digits, in place."""
    bonus = [config.spotting.digits if token in config.digits else 0.0 for token in config.tokens]
    with torch.no_grad():
        network.out.bias.add_(torch.tensor(bonus))
    return network


def _advance(network: Network, optimizer: torch.optim.Optimizer, cut: Iterator[Batch], rng: Generator) -> None:
    loss = loss_of(network, next(cut), rng)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
    optimizer.step()


def loss_of(network: Network, batch: Batch, rng: Generator) -> Tensor:
    """Per frame: how unlikely it is that nothing wrong is told."""
    chances = network(hide(batch.states, rng), batch.mask)
    right: Tensor = chances.masked_fill(~batch.allowed, -math.inf).logsumexp(2)
    return -right.sum() / batch.mask[:, ::2].sum()
