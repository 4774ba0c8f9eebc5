"""The bars that make slices square: where they are, and slices without them, for tasks whose label they would tell."""

from __future__ import annotations

import weakref
from typing import Literal, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.pretext.scan import Scan

Box: TypeAlias = tuple[slice, slice]
"""Rows and columns."""

_boxes: weakref.WeakKeyDictionary[Scan, Box] = weakref.WeakKeyDictionary()


def content_box(scan: Scan) -> Box:
    """The rows and columns between the bars: the outer ones that are 0 in every slice are left out.

    Found when it is first asked for, and kept. An empty scan is all content.
    """
    if scan not in _boxes:
        brightest = np.asarray(scan.image).max(0)
        rows, columns = np.flatnonzero(brightest.any(1)), np.flatnonzero(brightest.any(0))
        whole = slice(0, scan.shape[1]), slice(0, scan.shape[2])
        _boxes[scan] = (
            (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
            if len(rows)
            else whole
        )
    return _boxes[scan]


def without_bars(slices: Tensor, scan: Scan, how: Literal["stretch", "square"]) -> Tensor:
    """(C, S, S) uint8 slices of `scan`, what lies between the bars enlarged to S x S.

    stretch: all of it, as the thesis resizes its slices (B3-16). square: the square in its middle, for tasks to which
    the direction of a stretch would tell something. Slices without bars stay as they are.
    """
    rows, columns = content_box(scan)
    if how == "square":
        side = min(rows.stop - rows.start, columns.stop - columns.start)
        rows, columns = _middle(rows, side), _middle(columns, side)
    inner = slices[:, rows, columns]
    if inner.shape == slices.shape:
        return slices
    size = (slices.shape[1], slices.shape[2])
    larger = F.interpolate(inner[None].float(), size=size, mode="bilinear", align_corners=False)[0]
    return larger.round().to(torch.uint8)


def _middle(span: slice, side: int) -> slice:
    first = span.start + (span.stop - span.start - side) // 2
    return slice(first, first + side)
