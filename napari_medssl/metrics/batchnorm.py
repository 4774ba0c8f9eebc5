"""Batch normalisation seen from the data: statistics collected anew, and how far two collections lie apart."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from napari_medssl.progress import Progress, Steps, finish

Statistics: TypeAlias = dict[str, tuple[Tensor, Tensor]]
"""Layer name to (mean, variance), each (C,) on the CPU."""


def bn_statistics(network: nn.Module) -> Statistics:
    """Copies of the running means and variances of every batch normalisation; empty when there is none."""
    return {
        name: (layer.running_mean.detach().cpu().clone(), layer.running_var.detach().cpu().clone())
        for name, layer in _layers(network)
        if layer.running_mean is not None and layer.running_var is not None
    }


def recollect(network: nn.Module, batches: Iterable[Tensor]) -> Statistics:
    """Put the statistics of `batches` into the batch normalisations of `network`, and return them.

    Paper 002 does this with the target's training data before testing ("TBS" instead of the pretraining's "MBS");
    the procedure is not given (B2-21): running statistics are reset, averaged over the batches with equal weight
    (`momentum=None`) while the data passes without gradient, and everything else is left in eval mode. Variances are
    PyTorch's unbiased ones. Afterwards each module has its mode and momentum again.

    batches: inputs of the network, on its device; small last batches count as much as full ones, so leave them out.
    Raises ValueError when there is no batch; the network's statistics are then as they were.
    """
    return finish(recollect_steps(network, batches))


def recollect_steps(network: nn.Module, batches: Iterable[Tensor], *, total: int = 0) -> Steps[Statistics]:
    """`recollect` with a report before each batch; closing it puts the network's statistics back as they were.

    total: number of batches, for the reports.
    """
    layers = [layer for _, layer in _layers(network)]
    done = 0
    with _collecting(network, layers):
        for batch in batches:
            yield Progress(done, total, "collecting statistics")
            with torch.no_grad():  # not around the yield: it would hold for the caller, too
                network(batch)
            done += 1
        if not done:
            raise ValueError("no batch to collect statistics from")
    return bn_statistics(network)


def bn_distance(first: Statistics, second: Statistics) -> float:
    """Sum over layers of |difference of means|^2 + |difference of variances|^2 (paper 002, lines 342-344; B2-20).

    Give the encoder's layers only. Raises ValueError unless both have the same layers, and some.
    """
    return sum(layer_distances(first, second).values())


def layer_distances(first: Statistics, second: Statistics) -> dict[str, float]:
    """The terms of `bn_distance` by layer."""
    if not first or first.keys() != second.keys():
        raise ValueError(f"statistics of different layers: {len(first)} and {len(second)} batch normalisations")
    return {
        name: float((mean - second[name][0]).square().sum() + (variance - second[name][1]).square().sum())
        for name, (mean, variance) in first.items()
    }


def _layers(network: nn.Module) -> Iterator[tuple[str, _BatchNorm]]:
    return ((name, m) for name, m in network.named_modules() if isinstance(m, _BatchNorm))


@contextlib.contextmanager
def _collecting(network: nn.Module, layers: list[_BatchNorm]) -> Iterator[None]:
    """Only the given layers train, with cumulative averages from zero; what they held comes back on an error."""
    modes = [(m, m.training) for m in network.modules()]
    before = [(layer, layer.momentum, {k: v.clone() for k, v in layer.state_dict().items()}) for layer in layers]
    network.eval()
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    try:
        yield
    except BaseException:
        for layer, _, state in before:
            layer.load_state_dict(state)
        raise
    finally:
        for layer, momentum, _ in before:
            layer.momentum = momentum
        for module, training in modes:
            module.training = training
