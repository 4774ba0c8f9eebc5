"""Blobs of rehearsed segmentations, and whether they belong to the organ. Ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from napari_medssl.oneshot.blob_features import FEATURES
from napari_medssl.oneshot.blobs import BlobSlice, Floats
from napari_medssl.oneshot.verification import judge_blobs
from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.task import Example
from napari_medssl.settings import setting
from napari_medssl.train.episodes.rehearsals import Rehearsal, Rehearsals

_LEAST_WEIGHT = 1e-3


@dataclass(frozen=True)
class BlobSettings:
    """How blobs are drawn; the numbers are ours."""

    pool: int = setting(1500, "Rehearsed segmentations to draw blobs from.", ge=1)
    large_share: float = setting(0.35, "Share of rehearsals of organs with a large cross-section.", ge=0, le=1)
    alike_share: float = setting(
        0.4, "Share of rehearsals in which other organs are as bright as the one that is followed.", ge=0, le=1
    )
    walker_share: float = setting(0.85, "Largest weight of the random walker in a segmentation.", ge=0, le=1)
    blobs: int = setting(8, "Blobs drawn from one of them, with repeats.", ge=1)


@dataclass(frozen=True, eq=False)
class JudgedTable:
    """All M blobs of a rehearsal. numbers: (M, 32). share: (M,) of each that is the organ. weight: (M,) how much
    depends on it."""

    numbers: npt.NDArray[np.float32]
    share: npt.NDArray[np.float32]
    weight: npt.NDArray[np.float32]


class JudgedBlobs:
    """Draws {"numbers": (M, 32), "organ": (M,) 0 or 1, "weight": (M,)} from one rehearsal, float32.

    The segmentation is followed as `oneshot.verification` follows it, by a judge who knows the truth.
    """

    def __init__(self, settings: BlobSettings, rehearsals: Rehearsals) -> None:
        self._settings, self._rehearsals = settings, rehearsals
        self._tables: dict[int, JudgedTable] = {}
        self._scans: Sequence[Scan] | None = None

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        """Blobs of one rehearsal; of weight 0 when it has none. Raises FormatError when nothing can be followed."""
        if self._scans is not scans:
            self._tables.clear()
            self._scans = scans
        number = int(rng.integers(self._settings.pool))
        if number not in self._tables:
            self._tables[number] = judged_table(self._rehearsals.get(scans, number))
        table, count = self._tables[number], self._settings.blobs
        if not len(table.share):
            nothing = torch.zeros(count)
            return {"numbers": torch.zeros(count, len(FEATURES)), "organ": nothing, "weight": nothing.clone()}
        rows = rng.integers(len(table.share), size=count)
        return {
            "numbers": torch.from_numpy(table.numbers[rows]),
            "organ": torch.from_numpy((table.share[rows] > 0.5).astype(np.float32)),
            # Every blob counts alike, though one of a rehearsal with few of them is drawn more often.
            "weight": torch.from_numpy(table.weight[rows] * np.float32(len(table.share) / count)),
        }

    def prepare(self, batch: Example) -> Example:
        """The batch as it is."""
        return batch


def judged_table(rehearsal: Rehearsal) -> JudgedTable:
    """The blobs of a rehearsal; those half in the organ hardly count, large ones count more."""
    truth, labelled = rehearsal.truth, float(rehearsal.truth[rehearsal.support].sum())
    numbers, shares, weights = [np.zeros((0, len(FEATURES)))], [np.zeros(0)], [np.zeros(0)]

    def judge(blobs: BlobSlice, features: Floats) -> npt.NDArray[np.bool_]:
        share = np.bincount(blobs.labels[truth[blobs.z]], minlength=blobs.count + 1)[1:] / blobs.area
        numbers.append(features)
        shares.append(share)
        weights.append(np.sqrt(blobs.area / labelled) * np.abs(2 * share - 1) + _LEAST_WEIGHT)
        return np.asarray(share > 0.5)

    def image(z: int) -> npt.NDArray[np.float32]:
        return np.asarray(rehearsal.image[z] / 255, np.float32)

    found, masks = rehearsal.guide.astype(np.float32) / 255, {rehearsal.support: truth[rehearsal.support]}
    judge_blobs(image, found, masks, rehearsal.spacing_mm, judge)
    return JudgedTable(*(np.concatenate(x).astype(np.float32) for x in (numbers, shares, weights)))
