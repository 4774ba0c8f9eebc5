"""The cells of an encoder's feature grid with the organ each lies on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_medssl.engine.device import DevicePolicy
from napari_medssl.errors import FormatError
from napari_medssl.evaluate.data import spread
from napari_medssl.evaluate.embed import stack
from napari_medssl.pretext.scan import Scan
from napari_medssl.progress import Progress, Steps
from napari_medssl.samples.folder import ORGAN_NAMES

_LEAST_CELLS = 5  # of an organ in a scan, for the scan to count for it


@dataclass(frozen=True, eq=False)
class Cells:
    """What is to be told.

    organs: names of the classes 1, 2, ...; 0 is everything else. scan: numbers of the scans. slices: of each scan,
    those that are looked at. classes: of each scan (S, h, w) uint8 class at the centre of every cell. subjects: of each
    scan.
    """

    organs: tuple[str, ...]
    scan: tuple[int, ...]
    slices: tuple[npt.NDArray[np.intp], ...]
    classes: tuple[npt.NDArray[np.uint8], ...]
    subjects: npt.NDArray[Any]

    def targets(self, n: int, chosen: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """(C, 1 + organs) one-hot classes of cells of the n-th scan, counted in the order slice, row, column."""
        return np.eye(len(self.organs) + 1, dtype=np.float32)[self.classes[n].reshape(-1)[chosen]]


def organ_cells(scans: Sequence[Scan], stride: int, *, slices_per_scan: int = 8) -> Cells:
    """Cells of the labelled scans.

    slices_per_scan: at even distances over the slices that show an organ, so that organs are seen at all.

    Raises FormatError when no organ has five cells in two people or more.
    """
    known = [i for i, s in enumerate(scans) if s.labels is not None and np.any(s.labels)]
    slices = [_showing(scans[i], slices_per_scan) for i in known]
    values = [_centres(scans[i], z, stride) for i, z in zip(known, slices, strict=True)]
    subjects = np.array([scans[i].subject for i in known])
    organs = [v for v in range(1, 256) if len({p for p, m in zip(subjects, values, strict=True) if _enough(m, v)}) > 1]
    if not organs:
        raise FormatError("no organ is large enough in two people or more; this task needs images/ and labels/")
    lookup = np.zeros(256, np.uint8)
    lookup[organs] = np.arange(1, len(organs) + 1)
    groups = {scans[i].group for i in known}
    named = ORGAN_NAMES.get(groups.pop(), ()) if len(groups) == 1 else ()
    names = tuple(named[v - 1] if v <= len(named) else str(v) for v in organs)
    return Cells(names, tuple(known), tuple(slices), tuple(lookup[m] for m in values), subjects)


def cell_features(
    encoder: Any, scans: Sequence[Scan], cells: Cells, policy: DevicePolicy
) -> Steps[list[npt.NDArray[np.float16]]]:
    """Of each scan (S h w, D): the features of its cells, in half precision to halve the memory."""
    found: list[npt.NDArray[np.float16]] = []
    for i, slices in zip(cells.scan, cells.slices, strict=True):
        yield Progress(len(found), len(cells.scan), "encoding")
        parts = []
        for first in range(0, len(slices), policy.batch_size):
            places = [(i, int(z)) for z in slices[first : first + policy.batch_size]]
            with policy.running():
                grid = encoder(policy.send(stack(scans, places, encoder.in_slices)))
            parts.append(grid.half().permute(0, 2, 3, 1).flatten(0, 2).cpu())
        found.append(torch.cat(parts).numpy())
    return found


def draw_cells(
    classes: npt.NDArray[np.uint8], count: int, rng: np.random.Generator, *, per_class: int
) -> npt.NDArray[np.intp]:
    """Numbers of at most `per_class` cells of each organ, and four times as many of the rest, of one scan."""
    flat = classes.reshape(-1)
    drawn = []
    for c in range(count + 1):
        mine = np.flatnonzero(flat == c)
        drawn.append(rng.choice(mine, min(len(mine), per_class * (4 if c == 0 else 1)), replace=False))
    return np.concatenate(drawn)


def organ_dice(told: npt.NDArray[np.uint8], classes: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.float64]:
    """(count,) Dice of each organ over the cells of a scan; NaN where it has fewer than five of them."""
    flat, told = classes.reshape(-1), told.reshape(-1)
    out = np.full(count, np.nan)
    for c in range(1, count + 1):
        there, said = flat == c, told == c
        if there.sum() >= _LEAST_CELLS:
            out[c - 1] = 2 * (there & said).sum() / (there.sum() + said.sum())
    return out


def _showing(scan: Scan, count: int) -> npt.NDArray[np.intp]:
    assert scan.labels is not None  # only labelled scans are asked
    shown = np.flatnonzero(np.any(scan.labels, axis=(1, 2)))
    return shown[spread(count, len(shown))]


def _centres(scan: Scan, slices: npt.NDArray[np.intp], stride: int) -> npt.NDArray[np.uint8]:
    assert scan.labels is not None
    return np.ascontiguousarray(scan.labels[slices][:, stride // 2 :: stride, stride // 2 :: stride])


def _enough(values: npt.NDArray[np.uint8], organ: int) -> bool:
    return int((values == organ).sum()) >= _LEAST_CELLS
