"""How good the encoder is while it trains: k-NN on the subjects kept aside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_medssl.metrics.knn import knn_accuracy
from napari_medssl.models.heads import pooled
from napari_medssl.pretext.scan import Scan, pick_scan, slice_stack, to_float
from napari_medssl.train.distributed import is_main
from napari_medssl.train.method import Recipe

_BANK, _QUERIES, _BATCH, _NEIGHBOURS = 384, 192, 32, 20
_PARTS = 5  # of the body along z, where there are no labels


class Monitor:
    """Asks of slices (or crops) of the kept subjects what they show, by their nearest neighbours among training ones.

    What they show is the data set together with the largest organ where scans are labelled, and with the fifth of the
    scan along its slice axis where they are not: both are known without anybody's work, and neither is trained for.
    """

    def __init__(
        self, recipe: Recipe, scans: Sequence[Scan], aside: Sequence[Scan], settings: Any, device: torch.device
    ) -> None:
        self._encoder, self._device = recipe.objective.encoder, device
        self._on = bool(aside) and recipe.role in ("encoder", "encoder3d")
        if not self._on:
            return
        groups = sorted({s.group for s in [*scans, *aside]})
        crop = _crop_size(settings) if recipe.role == "encoder3d" else None
        context = 0 if crop else int(self._encoder.in_slices)
        rng = np.random.default_rng([settings.run.seed, 11])
        self._bank = [_view(pick_scan(scans, rng), groups, crop, context, rng) for _ in range(_BANK)]
        self._queries = [_view(pick_scan(aside, rng), groups, crop, context, rng) for _ in range(_QUERIES)]

    def measure(self) -> dict[str, float]:
        """{"knn": accuracy in [0, 1]}; empty in other processes than the first and when no subject is kept aside."""
        if not self._on or not is_main():
            return {}
        self._encoder.eval()
        bank, queries = self._embed(self._bank), self._embed(self._queries)
        shown = [label for _, label in [*self._bank, *self._queries]]
        classes = torch.from_numpy(np.unique(shown, return_inverse=True)[1])
        return {"knn": knn_accuracy(queries, classes[len(bank) :], bank, classes[: len(bank)], k=_NEIGHBOURS)}

    @torch.no_grad()
    def _embed(self, views: Sequence[tuple[Tensor, int]]) -> Tensor:
        found = []
        for start in range(0, len(views), _BATCH):
            batch = torch.stack([v for v, _ in views[start : start + _BATCH]]).to(self._device)
            found.append(pooled(self._encoder(to_float(batch))).float().cpu())
        return torch.cat(found)


def _view(
    scan: Scan, groups: Sequence[str], crop: tuple[int, int, int] | None, context: int, rng: np.random.Generator
) -> tuple[Tensor, int]:
    """A slice stack (context, Y, X), or a crop (1, Z, Y, X), as uint8, and what it shows as a number."""
    if crop is None:
        z = int(rng.integers(scan.shape[0]))
        image, labels = slice_stack(scan, z, context), None if scan.labels is None else scan.labels[z]
    else:
        corner = [int(rng.integers(max(1, n - c + 1))) for n, c in zip(scan.shape, crop, strict=True)]
        box = tuple(slice(a, a + c) for a, c in zip(corner, crop, strict=True))
        z = corner[0] + min(crop[0], scan.shape[0]) // 2
        image = torch.from_numpy(_padded(scan.image[box], crop))[None]
        labels = None if scan.labels is None else scan.labels[box]
    shows = z * _PARTS // scan.shape[0] if labels is None else int(np.argmax(_areas(labels)))
    return image, groups.index(scan.group) * 1000 + shows


def _areas(labels: np.ndarray) -> np.ndarray:
    areas = np.bincount(labels.ravel(), minlength=256)
    areas[0] = 0  # background counts only where nothing else is: then every area is 0, and the largest is the first
    return areas


def _padded(voxels: np.ndarray, size: tuple[int, int, int]) -> np.ndarray:
    missing = [(0, n - have) for n, have in zip(size, voxels.shape, strict=True)]
    return np.pad(voxels, missing)


def _crop_size(settings: Any) -> tuple[int, int, int]:
    """The training input, which every 3D method's settings name in the same way."""
    return settings.crop_z, settings.crop_y, settings.crop_x
