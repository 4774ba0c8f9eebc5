"""Superpixels of the slices of prepared scans, cut when a slice is first drawn and kept."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_medssl.errors import FormatError
from napari_medssl.oneshot.superpixels import SuperpixelSettings, superpixels
from napari_medssl.pretext.scan import Scan
from napari_medssl.train.episodes.pseudo_mask_cache import PseudoMaskCache, cache_variant

log = logging.getLogger(__name__)

Plane = npt.NDArray[np.unsignedinteger]

_KEPT = 4096  # slices in memory; 256 MiB at 256 x 256 pixels


class PseudoMasks:
    """Superpixel maps by scan and slice: in memory, and on disk beside the prepared scan where that lies on disk."""

    def __init__(self, settings: SuperpixelSettings) -> None:
        self._settings = settings
        self._kept: dict[tuple[Scan, int], Plane] = {}
        self._disk = True

    def of(self, scan: Scan, z: int) -> Plane:
        """(Y, X) superpixel numbers of a slice, 0 is air."""
        found = self._kept.get((scan, z))
        if found is None:
            if len(self._kept) >= _KEPT:
                self._kept.pop(next(iter(self._kept)))
            found = self._kept[scan, z] = _small(self._stored(scan.image, z))
        return found

    def planes(self, scan: Scan) -> ScanPlanes:
        """All maps of a scan, each cut when it is asked for."""
        return ScanPlanes(self, scan)

    def _stored(self, image: npt.NDArray[np.uint8], z: int) -> npt.NDArray[np.integer]:
        plane = np.ascontiguousarray(image[z])
        if not (isinstance(image, np.memmap) and image.filename and self._disk):
            return superpixels(plane, self._settings)
        cache = PseudoMaskCache(Path(image.filename).parent / "superpixels")
        content, variant = hashlib.sha256(plane.data).hexdigest(), cache_variant(self._settings, plane.shape[-1])
        stored = cache.load(content, variant)
        if stored is not None and stored.shape == (1, *plane.shape):
            return np.asarray(stored[0])
        made = superpixels(plane, self._settings).astype(np.uint16)
        try:
            cache.store(content, variant, made[None])
        except FormatError as error:  # a full disk costs time, not the run
            log.warning("superpixels are no longer kept on disk: %s", error)
            self._disk = False
        return made


@dataclass(frozen=True)
class ScanPlanes:
    """The superpixel maps of one scan, by slice number."""

    masks: PseudoMasks
    scan: Scan

    def __getitem__(self, z: int, /) -> Plane:
        return self.masks.of(self.scan, z)


def _small(plane: npt.NDArray[np.integer]) -> Plane:
    return plane.astype(np.uint8 if plane.max() < 256 else np.uint16)
