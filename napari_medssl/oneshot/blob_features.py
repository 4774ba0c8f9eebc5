"""What there is to know of a blob before it is judged: 32 numbers, all without units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from napari_medssl.oneshot.blobs import BlobSlice, Floats, Mask, Reference

FEATURES = (
    "overlap",  # share of the blob over what was kept of the slice before
    "near",  # the same, with what was kept widened
    "cover",  # share of what was kept of the slice before that the blob covers
    "share",  # of the slice's area
    "size",  # log area, of the labelled area
    "growth",  # log area of the slice, of what was kept of the slice before
    "footprint",  # share of the blob over the labelled mask
    "seen",  # share of the blob over anything kept so far
    "shift",  # of its centre from that of what was kept, in sides of the latter
    "probability",
    "brightness",  # against the labelled slice, in its standard deviations
    "difference",  # the same without its sign
    "texture",  # standard deviation, of the labelled one
    "contact",  # length of its borders with other blobs, in its radii
    "line",  # how bright these borders are against the darker side
    "rival",  # the cover of the best other blob
    "distance",  # from the labelled slice, 50 mm
    "step",  # between slices, 5 mm
    "beside",  # brightness against the slice's other blobs
    "before",  # brightness against what was kept of the slice before
    "radius",  # of the labelled mask's
    "kept",  # area kept of the slice before, of the labelled area
    "blobs",  # of the slice
    "reach",  # of its branch, 50 mm
    "volume",  # log, of its branch
    "branch footprint",
    "branch share",  # of its volume and its siblings'
    "widest",  # log area of its branch, of the labelled area
    "branch brightness",
    "sibling brightness",  # its branch's against its siblings'
    "sibling volume",
    "branch probability",
)
_NEAR_MM = 5.0
_MOST = 9.0


@dataclass(eq=False)
class Kept:
    """What of the slices so far was kept.

    last: (Y, X), of the last slice on which anything was. ever: (Y, X) of any.
    """

    last: Mask
    ever: Mask

    def add(self, mask: Mask) -> None:
        """What was kept of one more slice; a slice without anything changes nothing."""
        if mask.any():
            self.last, self.ever = mask, self.ever | mask


def blob_features(
    blobs: BlobSlice,
    image: np.ndarray,
    kept: Kept,
    known: Reference,
    spacing_mm: tuple[float, float, float],
) -> Floats:
    """(N, 32) numbers named in FEATURES, within -9 to 9.

    image: (Y, X) in [0, 1], the slice itself. spacing_mm: (z, y, x) of the scan.
    """
    z_mm, y_mm, x_mm = spacing_mm
    pixel_mm2, labels, index = y_mm * x_mm, blobs.labels, np.arange(1, blobs.count + 1)
    before = float(kept.last.sum())
    centre = np.array(ndimage.center_of_mass(kept.last))
    near = ndimage.binary_dilation(kept.last, iterations=max(1, round(2 * _NEAR_MM / (y_mm + x_mm))))
    over, close, seen = (np.asarray(ndimage.sum_labels(m, labels, index), float) for m in (kept.last, near, kept.ever))
    level = float(image[kept.last].mean())
    rows = []
    for k in range(blobs.count):
        area, others = blobs.area[k], index != index[k]
        rest = float(np.average(blobs.mean[others], weights=blobs.area[others])) if others.any() else blobs.mean[k]
        border, radius = blobs.contacts[k], np.sqrt(area * pixel_mm2 / np.pi)
        line = (border.mean() - min(blobs.mean[k], rest)) / known.deviation if len(border) else 0.0
        away = np.hypot(*((blobs.centre[k] - centre) * (y_mm, x_mm))) / np.sqrt(before * pixel_mm2)
        brightness = (blobs.mean[k] - known.mean) / known.deviation
        rows.append(
            [
                over[k] / area,
                close[k] / area,
                over[k] / before,
                area / blobs.area.sum(),
                np.log(area / known.area),
                np.log((blobs.area.sum() + 1) / (before + 1)),
                blobs.footprint[k],
                seen[k] / area,
                min(float(away), 3.0),
                blobs.probability[k],
                brightness,
                abs(brightness),
                blobs.deviation[k] / known.deviation,
                len(border) * (y_mm + x_mm) / 2 / radius,
                line,
                max((over[others] / before).tolist(), default=0.0),
                abs(blobs.z - known.z) * z_mm / 50,
                z_mm / 5,
                (blobs.mean[k] - rest) / known.deviation,
                (blobs.mean[k] - level) / known.deviation,
                np.sqrt(area / known.area),
                before / known.area,
                blobs.count,
                *_branch(blobs, k, known, z_mm),
            ]
        )
    return np.asarray(np.clip(np.array(rows, float).reshape(blobs.count, len(FEATURES)), -_MOST, _MOST))


def _branch(blobs: BlobSlice, k: int, known: Reference, z_mm: float) -> list[float]:
    slices, volume, footprint, widest, brightness, probability = blobs.branch[k]
    alike = [j for j in range(blobs.count) if j != k and blobs.parent[j] == blobs.parent[k]]
    siblings = blobs.branch[alike].sum(0)
    own = (brightness / volume - known.mean) / known.deviation
    theirs = (siblings[4] / siblings[1] - known.mean) / known.deviation if alike else own
    return [
        slices * z_mm / 50,
        _log_volume(volume, known, z_mm),
        footprint / volume,
        volume / (volume + siblings[1]),
        float(np.log(widest / known.area)),
        own,
        own - theirs,
        _log_volume(siblings[1], known, z_mm),
        probability / volume,
    ]


def _log_volume(pixels: float, known: Reference, z_mm: float) -> float:
    return float(np.log(pixels * z_mm / 50 / known.area + 0.01))
