"""Blobs of a segmentation: the round parts its slices fall into, and how they hang together from slice to slice.

Where a mask has slid from one organ into its neighbour, the two are seldom of one piece on every slice: a neck, or
nothing at all, lies between them. So doubt is cast on blobs, not on slices or voxels. Ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from napari_medssl.edit.box import box_of

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int32]
_DEEPER_MM = 1.5  # two middles of a mask are two blobs when both lie so much deeper in it than the neck between them
_DEEPER = 0.12  # and by this share of the deepest


@dataclass(frozen=True, eq=False)
class Reference:
    """What the organ looks like where it is labelled.

    mask: (Y, X) the labelled slice `z`. mean, deviation: of its intensities. area: in pixels.
    """

    z: int
    mask: Mask
    mean: float
    deviation: float
    area: float


@dataclass(frozen=True, eq=False)
class BlobSlice:
    """The N blobs of one slice, and what becomes of each further on.

    z: the slice. labels: (Y, X), 0 to N. area, mean, deviation, probability: (N,) pixels, intensity and probability.
    footprint: (N,) share of each that lies over the labelled mask. centre: (N, 2) pixels. parent: (N,) the blob of the
    slice before that each overlaps most, 0 for none. contacts: for each blob, intensities along its borders with
    others. branch: (N, 6) of the blob and all that descends from it: slices, pixels, footprint in pixels, the largest
    area, and sums over pixels of intensity and probability.
    """

    z: int
    labels: Labels
    area: Floats
    mean: Floats
    deviation: Floats
    probability: Floats
    footprint: Floats
    centre: Floats
    parent: npt.NDArray[np.intp]
    contacts: tuple[Floats, ...]
    branch: Floats

    @property
    def count(self) -> int:
        """N."""
        return len(self.area)


def reference(image: npt.NDArray[np.floating], z: int, mask: Mask) -> Reference:
    """image: (Y, X) in [0, 1], the labelled slice; mask: not empty."""
    inside = image[mask]
    return Reference(z, mask, float(inside.mean()), max(float(inside.std()), 0.02), float(mask.sum()))


def split_blobs(mask: Mask, spacing_mm: tuple[float, float]) -> Labels:
    """(Y, X) labels from 1 of the parts a mask falls into when it is cut at its necks.

    Two places that are exactly equally deep count as two middles even where the mask is hardly narrower between them,
    as in long even shapes; such cuts do no harm, for the parts are judged alike.
    """
    out = np.zeros(mask.shape, np.int32)
    found = box_of(mask[None])
    if found is None:
        return out
    box = found[1:]
    inside = np.pad(mask[box], 1)
    depth = ndimage.distance_transform_edt(inside, sampling=spacing_mm)
    middles = h_maxima(depth, max(_DEEPER_MM, _DEEPER * float(depth.max())))  # type: ignore[no-untyped-call]
    marks, count = ndimage.label(middles > 0, np.ones((3, 3)))
    pieces, _ = ndimage.label(inside)
    flat = ~np.isin(pieces, pieces[marks > 0]) & inside  # pieces too thin to have a middle are blobs of their own
    marks[flat] = count + np.unique(pieces[flat], return_inverse=True)[1] + 1
    out[box] = watershed(-depth, marks, mask=inside)[1:-1, 1:-1]  # type: ignore[no-untyped-call]
    return out


def blob_slices(
    images: Sequence[npt.NDArray[np.floating]],
    maps: Sequence[npt.NDArray[np.floating]],
    zs: Sequence[int],
    known: Reference,
    spacing_mm: tuple[float, float],
) -> list[BlobSlice]:
    """The blobs of slices `zs`, which lead away from the labelled one; those without any blob are there, too.

    images, maps: (Y, X) each, intensity and probability in [0, 1]; from 0.5 a pixel belongs to the organ.
    """
    found: list[BlobSlice] = []
    before = known.mask.astype(np.int32)
    for image, probability, z in zip(images, maps, zs, strict=True):
        labels = split_blobs(probability >= 0.5, spacing_mm)
        found.append(_measured(image, probability, z, labels, before, known))
        before = labels
    for here, beyond in zip(found[-2::-1], found[:0:-1], strict=True):
        _add_branches(here, beyond)
    return found


def _measured(
    image: npt.NDArray[np.floating],
    probability: npt.NDArray[np.floating],
    z: int,
    labels: Labels,
    before: Labels,
    known: Reference,
) -> BlobSlice:
    count = int(labels.max())
    index = np.arange(1, count + 1)
    area = np.asarray(ndimage.sum_labels(np.ones_like(labels), labels, index), float)
    mean, deviation, chance = (
        np.asarray(f(a, labels, index), float).reshape(count)
        for f, a in ((ndimage.mean, image), (ndimage.standard_deviation, image), (ndimage.mean, probability))
    )
    footprint = np.asarray(ndimage.sum_labels(known.mask, labels, index), float) / area
    centre = np.asarray(ndimage.center_of_mass(np.ones_like(labels), labels, index), float).reshape(count, 2)
    branch = np.stack([np.ones(count), area, footprint * area, area, mean * area, chance * area], 1)
    parent, contacts = _parents(labels, before, count), _contacts(image, labels, count)
    return BlobSlice(z, labels, area, mean, deviation, chance, footprint, centre, parent, contacts, branch)


def _parents(labels: Labels, before: Labels, count: int) -> npt.NDArray[np.intp]:
    shared = np.zeros((count, int(before.max()) + 1))
    inside = labels > 0
    np.add.at(shared, (labels[inside] - 1, before[inside]), 1)
    shared[:, 0] = 0
    return np.asarray(np.where(shared.max(1) > 0, shared.argmax(1), 0)) if count else np.zeros(0, np.intp)


def _contacts(image: npt.NDArray[np.floating], labels: Labels, count: int) -> tuple[Floats, ...]:
    """The darker pixel of each pair across a border between two blobs, by blob."""
    values: list[list[Floats]] = [[] for _ in range(count)]
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        first, second = labels[one], labels[other]
        touching = (first != second) & (first > 0) & (second > 0)
        darker = np.minimum(image[one][touching], image[other][touching])
        for side in (first[touching], second[touching]):
            for blob in np.unique(side):
                values[blob - 1].append(darker[side == blob])
    return tuple(np.concatenate(v).astype(float) if v else np.zeros(0) for v in values)


def _add_branches(here: BlobSlice, beyond: BlobSlice) -> None:
    for child, parent in enumerate(beyond.parent):
        if parent:
            own, more = here.branch[parent - 1], beyond.branch[child]
            own[0] = max(own[0], 1 + more[0])
            own[3] = max(own[3], more[3])
            own[[1, 2, 4, 5]] += more[[1, 2, 4, 5]]
