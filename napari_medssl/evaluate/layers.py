"""How alike the layers of two encoders of volumes are: linear CKA of their four stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_medssl.engine.device import DevicePolicy
from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.evaluate.crops import in_batches
from napari_medssl.metrics.cka import DebiasedCKA, cka_table
from napari_medssl.models.heads import pooled
from napari_medssl.progress import Progress, Steps, finish

_LEAST = 4  # examples; the unbiased estimator needs them


@dataclass(frozen=True)
class LayerSimilarity:
    """Linear CKA of every stage of one encoder (rows) with every stage of another (columns).

    linear: as Kornblith et al., which few examples of many features push towards 1. debiased: with the unbiased
    estimator, which they do not; can be slightly below 0. None where a stage gives the same for every example.
    """

    first: str
    second: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    linear: list[list[float | None]]
    debiased: list[list[float | None]]
    examples: int

    def same_stage(self) -> list[float | None]:
        """The diagonal of `linear`: each stage with its counterpart, as in paper 002, Table 6."""
        return [row[i] for i, row in enumerate(self.linear) if i < len(row)]

    def facts(self) -> dict[str, Any]:
        """For a report."""
        return asdict(self)


def stage_means(encoder: Any, crops: Tensor, policy: DevicePolicy, *, batch: int = 8) -> dict[str, Tensor]:
    """`stage_means_steps` run to the end."""
    return finish(stage_means_steps(encoder, crops, policy, batch=batch))


def stage_means_steps(
    encoder: Any, crops: Tensor, policy: DevicePolicy, *, batch: int = 8, label: str = "features of every stage"
) -> Steps[dict[str, Tensor]]:
    """ "stage 1" to "stage 4" to (N, C) float32 on the CPU: means over the stage's grid (GAP, as paper 002).

    encoder: a `VolumeEncoder` on the policy's device. crops: (N, Z, Y, X) uint8, sides multiples of its stride.
    Raises WeightsError when the encoder gives values that are not numbers.
    """
    kept: dict[str, list[Tensor]] = {}
    done = 0
    for images in in_batches(crops, batch):
        yield Progress(done, len(crops), label)
        with policy.running():
            for n, grid in enumerate(encoder.stages(images.to(policy.device)), start=1):
                kept.setdefault(f"stage {n}", []).append(pooled(grid).float().cpu())
        done += len(images)
    found = {name: torch.cat(parts) for name, parts in kept.items()}
    if not all(torch.isfinite(v).all() for v in found.values()):
        raise WeightsError("the encoder gives values that are not numbers; its weights are damaged, choose others")
    return found


def layer_similarity(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], *, names: tuple[str, str] = ("first", "second")
) -> LayerSimilarity:
    """Linear CKA of the stages of two encoders on the same inputs (S85).

    first, second: name of a stage to (N, C) features, the same N inputs in the same order; channels may differ.

    Source: Kornblith et al. (2019), whose kernel paper 002 does not name (B2-30), and Nguyen et al. (2021) for the
    debiased form. Raises SettingsError for fewer than 4 inputs or different numbers of them.
    """
    counts = {len(v) for v in (*first.values(), *second.values())}
    if len(counts) != 1 or min(counts) < _LEAST:
        raise SettingsError(f"layers are compared on the same {_LEAST} inputs or more; got {sorted(counts)}")
    linear = cka_table(list(first.values()), list(second.values()))
    debiased = [[_debiased(a, b) for b in second.values()] for a in first.values()]
    return LayerSimilarity(*names, tuple(first), tuple(second), _defined(linear), _defined(debiased), counts.pop())


def _debiased(x: Tensor, y: Tensor) -> float:
    cka = DebiasedCKA()
    cka.update(x - x.mean(0), y - y.mean(0))
    return cka.value


def _defined(table: list[list[float]]) -> list[list[float | None]]:
    return [[float(v) if np.isfinite(v) else None for v in row] for row in table]
