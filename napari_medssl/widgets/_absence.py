"""Slices of which the user said that an organ is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_medssl.errors import SupportError
from napari_medssl.widgets._layers import facts_of, organs_of

if TYPE_CHECKING:
    from napari.layers import Labels

_KEY = "absent"


def absences_of(layer: Labels) -> dict[int, tuple[int, ...]]:
    """Organ to the slices it is not on, as the support layer knows; what was painted since then counts more."""
    said: dict[int, tuple[int, ...]] = facts_of(layer).get(_KEY, {})
    data = np.asarray(layer.data)
    kept = {organ: tuple(z for z in slices if not (data[z] == organ).any()) for organ, slices in said.items()}
    return {organ: slices for organ, slices in kept.items() if slices}


def toggle_absence(layer: Labels, organ: int, z: int) -> bool:
    """Say that an organ is not on slice `z`, or take it back. Returns whether it is said now.

    Raises SupportError when the organ is labelled there, or on no slice at all.
    """
    data = np.asarray(layer.data)
    name = {label.value: label.name for label in organs_of(layer)}.get(organ, f"organ {organ}")
    if not 0 <= z < len(data):
        raise SupportError(f"slice {z} is none of the scan's {len(data)}; go to one of them")
    if (data[z] == organ).any():
        raise SupportError(f"{name} is labelled on slice {z}; wipe it away there before you say it is not there")
    said = absences_of(layer)
    slices = set(said.get(organ, ()))
    slices ^= {z}
    facts_of(layer)[_KEY] = {**said, organ: tuple(sorted(slices))}
    return z in slices


def describe_absences(layer: Labels) -> str:
    """Such as "liver not on 3, 4"; empty when nothing is said."""
    names = {label.value: label.name for label in organs_of(layer)}
    parts = [
        f"{names.get(organ, f'organ {organ}')} not on {', '.join(map(str, slices))}"
        for organ, slices in sorted(absences_of(layer).items())
    ]
    return "; ".join(parts)
