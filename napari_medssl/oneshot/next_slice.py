"""Which slice to label next: where the labels expected to be wrong would become right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_medssl.labels import Label
from napari_medssl.oneshot.confidence import OrganConfidence

# All three ours; see docs/confidence.md.
_HALF_MM = 120.0  # from a labelled slice, where errors reach half of their height
_PLAIN = 0.5  # share of what is expected to be wrong that is laid out by area and distance alone
_RISE = 0.3  # of what should fall off then; measured, for a label changes slices beside it less than it could
_LEAST = 1e-9


@dataclass(frozen=True)
class Suggestion:
    """A slice to label next.

    z: the slice. gain: how much the Dice of the organ (or the mean over organs) is expected to rise, in [0, 1].
    organs: whom labelling helps most, the first of all first. reason: a sentence for people.
    """

    z: int
    gain: float
    organs: tuple[int, ...]
    reason: str


def suggest_slices(
    found: Mapping[int, OrganConfidence],
    names: Sequence[Label],
    *,
    spacing_z_mm: float,
    organ: int | None = None,
    count: int = 5,
) -> list[Suggestion]:
    """The slices to label next, the best first; ours.

    found: confidence in the organs (oneshot/confidence). names: the organs' names. organ: for it alone; without it for
    all of them together, each counting the same. count: at most so many.

    To label a slice makes it right, and its neighbours better: the area expected to be wrong on slice z falls to
    the share h(d') / h(d), d and d' being the distances of z from the nearest labelled slice before and after, and
    h(d) = d^2 / (d^2 + (120 mm)^2). Three tenths of what falls off, summed over the organ, as a share of result and
    organ together, are the gain: the rise of Dice. Half of what is expected to be wrong on the organ's slices is where
    the confidence says, half in proportion to area and h(d): the Dice it expects of single slices is a guess. Slices
    within 60 mm beyond the organ's ends count, too: it may have been lost there; where it is not, to say so ends it.
    Slices that were labelled, or where the organ was said to be absent, never come back for it.
    """
    chosen = {value: one for value, one in found.items() if organ is None or value == organ}
    gains = {value: expected_gains(one, spacing_z_mm) for value, one in chosen.items()}
    totals: dict[int, float] = {}
    for one in gains.values():
        for z, gain in one.items():
            totals[z] = totals.get(z, 0.0) + gain / len(gains)
    called = {label.value: label.name for label in names}
    best = sorted(totals, key=lambda z: (-totals[z], z))[:count]
    return [_suggestion(z, totals[z], gains, chosen, called) for z in best]


def expected_gains(one: OrganConfidence, spacing_z_mm: float) -> dict[int, float]:
    """Slice to the rise of the organ's Dice expected from labelling it; open slices only."""
    at = np.arange(len(one.doubt_mm2)) * spacing_z_mm
    now = _height(one.distance_mm)
    wrong = _expected_wrong(one, now)
    whole = 2 * float(one.area_mm2.sum()) or 1.0
    gains = {}
    for row in np.flatnonzero(~one.painted):
        after = _height(np.minimum(one.distance_mm, np.abs(at - at[row])))
        gone = float((wrong * (1 - after / np.maximum(now, _LEAST))).sum())
        gains[one.low + int(row)] = _RISE * gone / whole
    return gains


def _expected_wrong(one: OrganConfidence, height: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N,) mm2 that count as wrong on each slice, by the (N,) heights of errors there."""
    found = (one.area_mm2 > 0) & ~one.painted
    doubt = np.where(one.painted, 0, one.doubt_mm2).astype(np.float64)
    plain = np.where(found, one.area_mm2 * height, 0)
    plain *= doubt[found].sum() / max(float(plain.sum()), _LEAST)
    return np.where(found, (1 - _PLAIN) * doubt + _PLAIN * plain, doubt)


def entropy_of_slices(one: OrganConfidence) -> dict[int, float]:
    """Slice to the summed binary entropy, in bits, of the chance that the organ is at a voxel; open slices only."""
    p = np.clip(one.inside.astype(np.float64), 1e-6, 1 - 1e-6)
    bits = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    total = (bits * one.region).sum(axis=(1, 2))
    return {one.low + int(row): float(total[row]) for row in np.flatnonzero(~one.painted)}


def labelling_queue(scans: Mapping[str, Mapping[int, OrganConfidence]]) -> list[tuple[str, int, float]]:
    """(scan, slice, bits) of all slices of all scans that are open, the most uncertain first.

    The queue of active learning by uncertainty sampling: the entropies of a slice's organs are added up. For the next
    label of one scan `suggest_slices` is better (docs/confidence.md): the most uncertain slices lie side by side.
    """
    rows = []
    for scan, found in scans.items():
        bits: dict[int, float] = {}
        for one in found.values():
            for z, value in entropy_of_slices(one).items():
                bits[z] = bits.get(z, 0.0) + value
        rows += [(scan, z, value) for z, value in bits.items()]
    return sorted(rows, key=lambda row: (-row[2], row[0], row[1]))


def _height(distance_mm: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    distance = np.asarray(distance_mm, np.float64)
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(distance), 1.0, distance**2 / (distance**2 + _HALF_MM**2))


def _suggestion(
    z: int,
    gain: float,
    gains: Mapping[int, Mapping[int, float]],
    found: Mapping[int, OrganConfidence],
    called: Mapping[int, str],
) -> Suggestion:
    organs = sorted((o for o in gains if gains[o].get(z, 0) > 0), key=lambda o: -gains[o][z])
    if not organs:
        return Suggestion(z, gain, (), "nothing is in doubt here")
    first, rest = organs[0], [o for o in organs[1:] if gains[o][z] >= 0.25 * gains[organs[0]][z]]
    text = _why(z, called.get(first, f"organ {first}"), found[first])
    if rest:
        text += "; also for " + ", ".join(called.get(o, f"organ {o}") for o in rest)
    return Suggestion(z, gain, tuple(organs), f"{text}. Dice may rise by {gain:.3f}")


def _why(z: int, name: str, one: OrganConfidence) -> str:
    row = z - one.low
    distance = float(one.distance_mm[row])
    far = "no slice of this scan is labelled" if np.isinf(distance) else f"{distance:.0f} mm from a labelled slice"
    if not one.area_mm2[row]:
        return f"{name} may go on here, beyond its last slice ({far}); if it does not, say so: that ends it"
    return f"{name}: Dice of about {one.dice[row]:.2f} is expected here, {far}"
