"""How good the encoder is while it trains: k-NN on the subjects kept aside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_medssl.metrics.knn import knn_accuracy
from napari_medssl.models.heads import pooled
from napari_medssl.pretext.crops3d import cut
from napari_medssl.pretext.scan import Scan, pick_scan, slice_stack, to_float
from napari_medssl.train.distributed import is_main
from napari_medssl.train.method import Recipe

_BANK, _QUERIES, _BATCH, _NEIGHBOURS = 384, 192, 32, 20
_PARTS = 5  # of the scan along z, where labels tell nothing
_MOSTLY = 0.8  # an organ in more of the views than this tells nothing


class Monitor:
    """Asks of slices (or crops) of the kept subjects what they show, by their nearest neighbours among training ones.

    What they show is the data set together with the largest organ, and, where a data set has no labels or shows the
    same organ nearly everywhere, with the fifth of the scan along its slice axis, which needs nobody's work.
    """

    def __init__(
        self, recipe: Recipe, scans: Sequence[Scan], aside: Sequence[Scan], settings: Any, device: torch.device
    ) -> None:
        self._encoder, self._device = recipe.objective.encoder, device
        wanted = settings.run.monitor_every > 0 and is_main()  # views are drawn now, and kept
        self._on = wanted and bool(aside) and recipe.role in ("encoder", "encoder3d")
        if not self._on:
            return
        crop = _crop_size(settings) if recipe.role == "encoder3d" else None
        context = 0 if crop else int(self._encoder.in_slices)
        rng = np.random.default_rng([settings.run.seed, 11])
        self._bank = [_view(pick_scan(scans, rng), crop, context, rng) for _ in range(_BANK)]
        self._queries = [_view(pick_scan(aside, rng), crop, context, rng) for _ in range(_QUERIES)]
        self._classes = torch.from_numpy(_classes([*self._bank, *self._queries]))

    def measure(self) -> dict[str, float]:
        """{"knn": accuracy in [0, 1]}; empty in other processes than the first and when no subject is kept aside."""
        if not self._on:
            return {}
        self._encoder.eval()
        bank, queries = self._embed(self._bank), self._embed(self._queries)
        known, asked = self._classes[: len(bank)], self._classes[len(bank) :]
        return {"knn": knn_accuracy(queries, asked, bank, known, k=_NEIGHBOURS)}

    @torch.no_grad()
    def _embed(self, views: Sequence[_View]) -> Tensor:
        found = []
        for start in range(0, len(views), _BATCH):
            batch = torch.stack([v.image for v in views[start : start + _BATCH]]).to(self._device)
            found.append(pooled(self._encoder(to_float(batch))).float().cpu())
        return torch.cat(found)


@dataclass(frozen=True, eq=False)
class _View:
    """A slice stack (context, Y, X) or a crop (1, Z, Y, X), uint8; its data set, largest organ and part of the scan."""

    image: Tensor
    group: str
    organ: int
    part: int


def _view(scan: Scan, crop: tuple[int, int, int] | None, context: int, rng: np.random.Generator) -> _View:
    if crop is None:
        z = int(rng.integers(scan.shape[0]))
        image, labels = slice_stack(scan, z, context), None if scan.labels is None else scan.labels[z]
    else:
        z, y, x = (int(rng.integers(max(1, n - c + 1))) for n, c in zip(scan.shape, crop, strict=True))
        image = torch.from_numpy(cut(scan.image, (z, y, x), crop))[None]
        labels = None if scan.labels is None else cut(scan.labels, (z, y, x), crop)
        z = min(z + crop[0] // 2, scan.shape[0] - 1)
    organ = 0 if labels is None else int(np.argmax(_areas(labels)))
    return _View(image, scan.group, organ, z * _PARTS // scan.shape[0])


def _classes(views: Sequence[_View]) -> np.ndarray:
    """(N,) what each view shows, as numbers from 0."""
    organs: dict[str, list[int]] = {}
    for view in views:
        organs.setdefault(view.group, []).append(view.organ)
    telling = {g: max(map(found.count, set(found))) < _MOSTLY * len(found) for g, found in organs.items()}
    shown = [(v.group, v.organ if telling[v.group] else v.part) for v in views]
    numbers = {s: i for i, s in enumerate(sorted(set(shown)))}
    return np.array([numbers[s] for s in shown])


def _areas(labels: np.ndarray) -> np.ndarray:
    areas = np.bincount(labels.ravel(), minlength=256)
    areas[0] = 0  # background counts only where nothing else is: then every area is 0, and the largest is the first
    return areas


def _crop_size(settings: Any) -> tuple[int, int, int]:
    """The training input, which every 3D method's settings name in the same way."""
    return settings.crop_z, settings.crop_y, settings.crop_x
