"""What a user would paint: of a known label map, one slice per organ, the one with most of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_medssl.errors import SettingsError
from napari_medssl.labels import Label
from napari_medssl.oneshot import Support
from napari_medssl.volume import Volume

_LEAST_VOXELS, _LEAST_SLICES = 100, 3  # an organ below that leaves nothing to carry from slice to slice


def choose_organs(truth: Volume, wanted: Sequence[str] = ()) -> tuple[Label, ...]:
    """The organs of a label map called `wanted` by name or number ("all", or none: those big enough to show).

    Raises SettingsError when one is not there.
    """
    names = [name.strip() for name in wanted if name.strip()]
    if not names or names == ["all"]:
        return tuple(o for o in truth.labels if _big_enough(truth.data == o.value))
    by_name = {key: o for o in truth.labels for key in (o.name.lower(), str(o.value))}
    for name in names:
        if name.lower() not in by_name:
            raise SettingsError(f"no organ is called {name!r}; choose of: {', '.join(o.name for o in truth.labels)}")
    return tuple(by_name[name.lower()] for name in names)


def one_slice_each(scan: Volume, truth: Volume, organs: Sequence[Label]) -> Support:
    """The support in which each organ is labelled on its largest slice and nowhere else."""
    mask = np.zeros(truth.shape, np.int32)
    for organ in organs:
        where = truth.data == organ.value
        z = int(where.sum(axis=(1, 2)).argmax())
        mask[z][where[z]] = organ.value
    return Support(scan, mask, tuple(organs))


def _big_enough(where: np.ndarray) -> bool:
    return bool(where.sum() >= _LEAST_VOXELS and where.any(axis=(1, 2)).sum() >= _LEAST_SLICES)
