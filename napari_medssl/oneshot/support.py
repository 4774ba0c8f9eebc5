"""A labelled example: a scan and its mask, of which only some slices are labelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from napari_medssl.errors import SupportError
from napari_medssl.labels import Label, default_label
from napari_medssl.oneshot.stroke import Stroke
from napari_medssl.volume import Volume


@dataclass(frozen=True, eq=False)
class Support:
    """What the user labelled.

    volume: the scan.
    mask: integer (Z, Y, X) on the same grid; 0 everywhere on slices that are not labelled. On a slice where an
        organ is painted, every other pixel is known not to be that organ.
    labels: names and colours of the organs; missing ones get defaults.
    strokes: corrections, in the order they were painted: certain voxels on any slice, of which the others stay open.
    absent: organ to slices it is certainly not on. An organ labelled on one side of such a slice ends before it.
        Strokes and absences count in the scan they were made on only, never as examples for another one.

    Raises SupportError when the shape differs, values are negative or not whole, a stroke or an absence lies outside
    the scan, or nothing at all is said.
    """

    volume: Volume
    mask: np.ndarray
    labels: tuple[Label, ...] = ()
    strokes: tuple[Stroke, ...] = ()
    absent: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        mask = np.asarray(self.mask)
        if mask.shape != self.volume.shape:
            raise SupportError(
                f"the support mask has shape {mask.shape} but its scan has {self.volume.shape}; "
                "paint or load a mask on the scan's own grid"
            )
        if mask.dtype == bool:
            mask = mask.astype(np.uint8)
        if not np.issubdtype(mask.dtype, np.integer):
            whole = np.rint(mask)
            if not np.array_equal(whole, mask):
                raise SupportError("the support mask has fractional values; it must hold whole label numbers")
            mask = whole.astype(np.int32)
        if mask.size and mask.min() < 0:
            raise SupportError(f"the support mask has negative labels ({mask.min()}); labels start at 1")
        for stroke in self.strokes:
            stroke.check(self.volume.shape)
        if beyond := [z for slices in self.absent.values() for z in slices if not 0 <= z < len(mask)]:
            raise SupportError(f"an organ is said to be absent on slice {beyond[0]}; the scan has 0 to {len(mask) - 1}")
        if not mask.any() and not self.strokes and not any(self.absent.values()):
            raise SupportError("the support mask is empty on every slice; paint an organ on at least one slice")
        object.__setattr__(self, "mask", mask)

    @cached_property
    def slices(self) -> tuple[int, ...]:
        """Labelled slices, ascending."""
        return tuple(int(z) for z in np.flatnonzero(self.mask.any(axis=(1, 2))))

    @cached_property
    def organs(self) -> tuple[Label, ...]:
        """Every organ present in the mask, with its name and colour."""
        named = {label.value: label for label in self.labels}
        present = (int(v) for v in np.unique(self.mask) if v)
        return tuple(named.get(v, default_label(v)) for v in present)
