"""An edit as a report tells it."""

from __future__ import annotations

from typing import Any

from napari_medssl.edit.change import Change
from napari_medssl.edit.operation import Operation, describe
from napari_medssl.edit.scope import Scope


def record(operation: Operation, scope: Scope, change: Change) -> dict[str, Any]:
    """What was done to which organs and slices, and how many voxels it changed, ready for JSON.

    "do" is the operation as the command line takes it; "slices" is half-open, None for all.
    """
    return {
        "do": describe(operation),
        "organs": list(change.organs),
        "slices": None if scope.slices is None else list(scope.slices),
        "overwrite": scope.overwrite,
        "painted_slices_kept": scope.painted is not None and not scope.change_painted,
        **change.facts(),
        "notes": list(change.notes),
    }
