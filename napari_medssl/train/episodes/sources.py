"""What masks are followed through: organs of labelled scans and, for everything else, supervoxels (SLIC)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_medssl.errors import FormatError
from napari_medssl.pretext.scan import Scan
from napari_medssl.settings import setting
from napari_medssl.train.episodes.organs import organ_areas, organ_extents
from napari_medssl.train.episodes.supervoxels import supervoxels

_SHALLOWEST = 12  # slices a scan needs for supervoxels
_TRIES = 1000
_MOST_ORGANS = 13  # a single scan with forty labels must not outweigh twenty scans


@dataclass(frozen=True)
class WalkSettings:
    """How walks are drawn; the numbers are ours."""

    steps: int = setting(3, "Slices per walk.", ge=1)
    supervoxel_share: float = setting(0.25, "Share of walks that follow a supervoxel.", ge=0, le=1)
    supervoxel_cases: int = setting(16, "Scans of which supervoxels are made, unlabelled ones first.", ge=0)
    supervoxels: int = setting(150, "Supervoxels per scan.", ge=2)


@dataclass(frozen=True, eq=False)
class WalkVolume:
    """A scan to walk through.

    image, labels: (Z, Y, X) uint8. areas: (Z, 256) pixels of each label. extents: label to the slices that show it.
    """

    image: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]
    areas: npt.NDArray[np.intp]
    extents: dict[int, npt.NDArray[np.intp]]


class Sources:
    """What can be followed in some scans: organs by data set, and supervoxels, cut when they are first drawn."""

    def __init__(self, scans: Sequence[Scan], settings: WalkSettings) -> None:
        self._settings = settings
        self._labelled: dict[str, list[WalkVolume]] = {}
        for scan in scans:
            volume = None if scan.labels is None else _volume(scan, scan.labels)
            if volume is not None and volume.extents:
                self._labelled.setdefault(scan.group, []).append(volume)
        unlabelled_first = sorted(scans, key=lambda s: s.labels is not None)
        deep = [s for s in unlabelled_first if len(s.image) >= _SHALLOWEST][: settings.supervoxel_cases]
        self._pseudo: dict[str, list[Scan]] = {}
        for scan in deep:
            self._pseudo.setdefault(scan.group, []).append(scan)
        self._cut: dict[Scan, WalkVolume] = {}

    def pick(self, rng: np.random.Generator) -> WalkVolume:
        for _ in range(_TRIES):
            real = bool(self._labelled) and not (self._pseudo and rng.random() < self._settings.supervoxel_share)
            if not real and not self._pseudo:
                break
            volume = self._organs(rng) if real else self._supervoxels(rng)
            if volume.extents:
                return volume
        raise FormatError("no scan has a label or supervoxel on two neighbouring slices; nothing to walk along")

    def _organs(self, rng: np.random.Generator) -> WalkVolume:
        # A set counts by the number of different organs it teaches more than by its number of scans.
        sets = list(self._labelled.values())
        organs = [min(_MOST_ORGANS, len({k for v in volumes for k in v.extents})) for volumes in sets]
        weights = np.array([n**0.7 * len(volumes) ** 0.35 for n, volumes in zip(organs, sets, strict=True)])
        volumes = sets[int(rng.choice(len(sets), p=weights / weights.sum()))]
        return volumes[int(rng.integers(len(volumes)))]

    def _supervoxels(self, rng: np.random.Generator) -> WalkVolume:
        scans = list(self._pseudo.values())[int(rng.integers(len(self._pseudo)))]
        scan = scans[int(rng.integers(len(scans)))]
        if scan not in self._cut:
            self._cut[scan] = _volume(scan, supervoxels(scan.image, scan.spacing_mm, self._settings.supervoxels))
        return self._cut[scan]


def _volume(scan: Scan, labels: npt.NDArray[np.uint8]) -> WalkVolume:
    areas = organ_areas(labels)
    return WalkVolume(scan.image, labels, scan.spacing_mm, areas, organ_extents(areas))
