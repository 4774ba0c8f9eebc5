"""Batch statistics of an encoder collected anew on the scans at hand, and how far they are from those it came with."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from napari_medssl.engine.device import DevicePolicy
from napari_medssl.errors import SettingsError
from napari_medssl.evaluate.crops import in_batches
from napari_medssl.metrics.batchnorm import (
    Statistics,
    bn_distance,
    bn_statistics,
    layer_distances,
    recollect_steps,
)
from napari_medssl.progress import Steps, finish

_LEAST = 2  # crops: one has no variance over examples


@dataclass(frozen=True, eq=False)
class Recollected:
    """An encoder with the statistics of some crops (TBS) in place of those it came with (MBS).

    encoder: a copy, everything else in it as it was. statistics: its new ones. distance: B2-20's, from the old ones;
    layers: the terms of it, by name. crops: that were used.
    """

    encoder: Any
    statistics: Statistics
    distance: float
    layers: dict[str, float]
    crops: int


def recollect_on(encoder: Any, crops: Tensor, policy: DevicePolicy, *, batch: int = 8, seed: int = 0) -> Recollected:
    """`recollect_on_steps` run to the end."""
    return finish(recollect_on_steps(encoder, crops, policy, batch=batch, seed=seed))


def recollect_on_steps(
    encoder: Any, crops: Tensor, policy: DevicePolicy, *, batch: int = 8, seed: int = 0
) -> Steps[Recollected]:
    """Statistics of a copy of `encoder` on (N, Z, Y, X) uint8 crops, in shuffled full batches (F-051, S81).

    The given encoder stays as it was. Source: paper 002, lines 329-346; the procedure is that of `recollect` (B2-21).
    Raises SettingsError when the encoder has no batch normalisation (group normalisation needs none of this), or
    fewer than two crops are given.
    """
    before = bn_statistics(encoder)
    if not before:
        raise SettingsError(
            "this encoder has no batch normalisation, so it keeps no statistics of its training data; "
            "nothing has to be collected anew"
        )
    if len(crops) < _LEAST:
        raise SettingsError(f"{len(crops)} crop has no statistics; take {_LEAST} or more")
    network = copy.deepcopy(encoder)
    shuffled = crops[torch.randperm(len(crops), generator=torch.Generator().manual_seed(seed))]
    size = min(batch, len(crops))
    used = len(crops) // size * size
    images = (b.to(policy.device) for b in in_batches(shuffled, size, full=True))
    after = yield from recollect_steps(network, images, total=used // size)
    return Recollected(network, after, bn_distance(before, after), layer_distances(before, after), used)


def group_distances_steps(
    encoder: Any, groups: Mapping[str, Tensor], policy: DevicePolicy, *, batch: int = 8, seed: int = 0
) -> Steps[dict[str, float]]:
    """Distance of the statistics of each group of crops alone (TBS) from those of all groups mixed (MBS).

    Groups count by their crops. Raises SettingsError as `recollect_on_steps` does.
    """
    everything = torch.cat(list(groups.values()))
    mixed = yield from recollect_on_steps(encoder, everything, policy, batch=batch, seed=seed)
    found = {}
    for name, crops in groups.items():
        own = yield from recollect_on_steps(encoder, crops, policy, batch=batch, seed=seed)
        found[name] = bn_distance(mixed.statistics, own.statistics)
    return found
