"""Blobs that seem to be another organ are taken out of a segmentation, from the labelled slice outward.

What is judged on a slice is what hangs together with what was kept before it; so once a mask has slid into a neighbour,
the neighbour's further slices have nothing to hold on to. Ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_medssl.edit.box import box_of
from napari_medssl.intensity import to_unit
from napari_medssl.oneshot.blob_features import Kept, blob_features
from napari_medssl.oneshot.blobs import BlobSlice, Floats, Mask, Reference, blob_slices, reference
from napari_medssl.oneshot.propagation import Anchors
from napari_medssl.progress import Progress, Steps
from napari_medssl.volume import Volume

Judge = Callable[[BlobSlice, Floats], npt.NDArray[np.bool_]]
"""Of a slice's blobs and their features: which to keep."""

_WIDE = 3.5  # radius of the labelled mask that organs must have to be judged, in distances between slices
# Nor are smaller ones: of the hippocampus' two parts one gained what the other lost.
_LEAST_MM = 12.0
_AROUND = 8  # pixels around the organ that are looked at, too


def verify_steps(
    query: Volume,
    maps: dict[int, np.ndarray],
    anchors: Anchors,
    network: Any,
    *,
    limits: tuple[float, float],
    doubt: float,
    threshold: float = 0.5,
) -> Steps[None]:
    """Take blobs whose chance to belong to the organ is below `doubt` out of each map, (Z, Y, X) float16, in place.

    anchors: the labelled slices, which stay as they are; organs whose labelled masks are all small are left alone.
    network: a verifier (models.verifier). The probability of such a blob is multiplied by its chance, or by what
    leaves it below `threshold`. Blobs are what has a probability of 0.5 or more.
    """
    _, y_mm, x_mm = query.spacing_mm
    for i, (organ, found) in enumerate(maps.items()):
        yield Progress(i, len(maps), "looking for neighbours taken for the organ")
        masks = {z: np.asarray(m) > 0.5 for z, m in anchors[organ].items()}
        if max(_radius(int(m.sum()), y_mm * x_mm) for m in masks.values()) >= _LEAST_MM:
            _verify(query, found, masks, network, limits=limits, doubt=doubt, threshold=threshold)


def _verify(
    query: Volume,
    found: np.ndarray,
    masks: Mapping[int, Mask],
    network: Any,
    *,
    limits: tuple[float, float],
    doubt: float,
    threshold: float,
) -> None:
    """Judge one organ in the box around it, and change its map."""
    box = _plane(found, masks.values())
    part = found[(slice(None), *box)]

    def judge(blobs: BlobSlice, features: Floats) -> npt.NDArray[np.bool_]:
        chance = network.judge(features)
        doubted = chance < doubt
        factor = np.where(doubted, np.minimum(chance, 0.99 * threshold), 1.0)
        part[blobs.z] *= np.concatenate([[1.0], factor])[blobs.labels].astype(part.dtype)
        return np.asarray(~doubted)

    def image(z: int) -> np.ndarray:
        return to_unit(query.data[z][box], limits)

    judge_blobs(image, part, {z: m[box] for z, m in masks.items()}, query.spacing_mm, judge)


def judge_blobs(
    image: Callable[[int], np.ndarray],
    probability: np.ndarray,
    masks: Mapping[int, Mask],
    spacing_mm: tuple[float, float, float],
    judge: Judge,
) -> None:
    """Show `judge` the blobs of all slices between and beyond the labelled ones, from the labels outward.

    image: slice to (Y, X) in [0, 1]. probability: (Z, Y, X); a slice is copied before it is judged. masks: labelled
    slice to (Y, X); an organ too thin there is not judged. A slice is judged from the nearest labelled one; the organ
    is followed until its last slice on that side.
    """
    present = [z for z in range(len(probability)) if (probability[z] >= 0.5).any()]
    for z, mask in masks.items():
        if not mask.any():
            continue
        known = reference(image(z), z, mask)
        if not _wide(known, spacing_mm):
            continue
        for zs in _ways(z, sorted(masks), present):
            _judge_way(image, probability, zs, known, spacing_mm, judge)


def _wide(known: Reference, spacing_mm: tuple[float, float, float]) -> bool:
    """Whether what lies over one slice of an organ must lie over the next.

    Thin organs move by their own width between thick slices; judged all the same, held-out adrenals and hearts lost
    their ends (Dice down by 0.006 on five CTs and ten hearts).
    """
    z_mm, y_mm, x_mm = spacing_mm
    return _radius(known.area, y_mm * x_mm) >= _WIDE * z_mm


def _radius(pixels: float, pixel_mm2: float) -> float:
    return float(np.sqrt(pixels * pixel_mm2 / np.pi))


def _judge_way(
    image: Callable[[int], np.ndarray],
    probability: np.ndarray,
    zs: Sequence[int],
    known: Reference,
    spacing_mm: tuple[float, float, float],
    judge: Judge,
) -> None:
    images = [image(z) for z in zs]
    maps = [probability[z].astype(np.float32) for z in zs]
    kept = Kept(known.mask, known.mask)
    for blobs, picture in zip(blob_slices(images, maps, zs, known, spacing_mm[1:]), images, strict=True):
        if blobs.count:
            verdict = judge(blobs, blob_features(blobs, picture, kept, known, spacing_mm))
            kept.add(np.isin(blobs.labels, 1 + np.flatnonzero(verdict)))


def _ways(z: int, labelled: Sequence[int], present: Sequence[int]) -> list[list[int]]:
    """Slices above and below a labelled one that are nearer to it than to any other, to the organ's last one."""
    own = [p for p in present if p not in labelled and min(labelled, key=lambda s: (abs(s - p), s)) == z]
    above, below = [p for p in own if p > z], [p for p in own if p < z]
    ways = [list(range(z + 1, above[-1] + 1))] if above else []
    return ways + ([list(range(z - 1, below[0] - 1, -1))] if below else [])


def _plane(found: np.ndarray, masks: Iterable[Mask]) -> tuple[slice, slice]:
    """The rows and columns around what is found and labelled, which is something."""
    used = np.logical_or.reduce(list(masks))
    for part in found:  # slice by slice: a comparison of the whole map would take half of its memory again
        used |= part >= 0.5
    box = box_of(used[None])
    assert box is not None
    rows, columns = (slice(max(0, s.start - _AROUND), s.stop + _AROUND) for s in box[1:])
    return rows, columns
