"""Refining a label map: fill, clean, smooth, interpolate, grow, shrink, window and combine organs."""

from __future__ import annotations

from napari_medssl.edit import (
    combine,
    fill_between,
    fill_holes,
    grow,
    grow_range,
    keep_range,
    largest,
    shrink,
    smooth,
)
from napari_medssl.edit.apply import edit, edit_steps
from napari_medssl.edit.change import Change
from napari_medssl.edit.operation import Operation, Part, Proposal, describe, name_of, operations
from napari_medssl.edit.scope import Scope

__all__ = [
    "Change",
    "Operation",
    "Part",
    "Proposal",
    "Scope",
    "combine",
    "describe",
    "edit",
    "edit_steps",
    "fill_between",
    "fill_holes",
    "grow",
    "grow_range",
    "keep_range",
    "largest",
    "name_of",
    "operations",
    "shrink",
    "smooth",
]
