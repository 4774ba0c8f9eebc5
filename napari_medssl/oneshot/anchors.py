"""Sorting the supports: labelled slices of the scan itself, and labelled slices of other scans."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_medssl.errors import SupportError
from napari_medssl.labels import Label
from napari_medssl.oneshot.propagation import Anchors
from napari_medssl.oneshot.support import Support
from napari_medssl.volume import Volume


def split_supports(query: Volume, supports: Sequence[Support]) -> tuple[list[Support], list[Support]]:
    """(supports on the query itself, supports on other scans); the same scan read twice counts as itself."""
    if not supports:
        raise SupportError("no labelled example was given; paint an organ on one slice or give another labelled scan")
    here = [s for s in supports if s.volume is query or s.volume.content_hash == query.content_hash]
    return here, [s for s in supports if not any(s is h for h in here)]


def organs_of(supports: Sequence[Support]) -> tuple[Label, ...]:
    """Every organ of the supports by value; of different names for one value, the first wins.

    Raises SupportError when no slice is labelled: strokes and absences alone only correct.
    """
    found: dict[int, Label] = {}
    for support in supports:
        for label in support.organs:
            found.setdefault(label.value, label)
    if not found:
        raise SupportError("there are corrections but no labelled slice; label an organ on at least one slice first")
    return tuple(found[v] for v in sorted(found))


def anchors_of(supports: Sequence[Support]) -> dict[int, dict[int, np.ndarray]]:
    """Organ to labelled slice to its bool (Y, X) mask; masks of several supports on one slice are united.

    A slice counts as labelled only for the organs painted on it, so an organ can be corrected on a slice without
    repainting all others.
    """
    anchors: dict[int, dict[int, np.ndarray]] = {}
    for support in supports:
        for z in support.slices:
            for organ in np.unique(support.mask[z]):
                if organ:
                    mask = support.mask[z] == organ
                    slot = anchors.setdefault(int(organ), {})
                    slot[z] = mask | slot[z] if z in slot else mask
    return anchors


def within_range(anchors: Anchors, slice_range: tuple[int, int] | None) -> dict[int, dict[int, np.ndarray]]:
    """Anchors whose slices lie in the range; an organ left without any keeps all of its anchors.

    So an organ labelled outside the range the user asks for is still carried into it.
    """
    if slice_range is None:
        return {k: dict(v) for k, v in anchors.items()}
    low, high = slice_range
    kept = {}
    for organ, slices in anchors.items():
        inside = {z: m for z, m in slices.items() if low <= z < high}
        kept[organ] = inside or dict(slices)
    return kept
