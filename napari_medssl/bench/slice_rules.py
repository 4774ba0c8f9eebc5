"""Rules by which a user may choose the next slice to label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_medssl.oneshot import Segmentation, Support
from napari_medssl.oneshot.confidence import confidence
from napari_medssl.oneshot.next_slice import entropy_of_slices, suggest_slices
from napari_medssl.oneshot.scribbles import absences
from napari_medssl.volume import Volume

RULES = {
    "suggest": "what the program suggests",
    "furthest": "the slice of the organ found that is farthest from all labelled ones",
    "middle": "the middle of the longest stretch of the organ found that has no label",
    "random": "any slice of the organ found",
    "entropy": "the slice whose voxels are most uncertain",
}
"""Name to what it is."""


@dataclass(frozen=True, eq=False)
class Standing:
    """Where a labelling stands: one organ (1) of a scan, what is labelled or called empty, and the result."""

    query: Volume
    support: Support
    result: Segmentation

    @property
    def known(self) -> list[int]:
        """Slices the user has looked at, ascending."""
        return sorted({*self.support.slices, *absences([self.support]).get(1, ())})

    @property
    def open_slices(self) -> npt.NDArray[np.intp]:
        """Slices from the first to the last that the organ was found on, without the known ones."""
        found = np.flatnonzero((self.result.labels.data == 1).any(axis=(1, 2)))
        if not len(found):
            return found
        within = np.arange(found[0], found[-1] + 1)
        return within[~np.isin(within, self.known)]


def choose_slice(rule: str, standing: Standing, rng: np.random.Generator) -> int | None:
    """The slice the rule names, or None when it has none left. Ties: the lower slice."""
    if rule in ("suggest", "entropy"):
        return _by_confidence(rule, standing)
    left = standing.open_slices
    if not len(left):
        return None
    if rule == "random":
        return int(rng.choice(left))
    if rule == "furthest":
        return int(left[int(np.abs(left[:, None] - np.array(standing.known)).min(axis=1).argmax())])
    return _middle(left)


def _by_confidence(rule: str, standing: Standing) -> int | None:
    found = confidence(standing.query, standing.result, [standing.support])
    if 1 not in found:
        return None
    if rule == "entropy":
        bits = entropy_of_slices(found[1])
        return max(bits, key=lambda z: (bits[z], -z)) if bits else None
    best = suggest_slices(found, (), spacing_z_mm=standing.query.spacing_mm[0], organ=1, count=1)
    return best[0].z if best else None


def _middle(left: npt.NDArray[np.intp]) -> int:
    stretches = np.split(left, np.flatnonzero(np.diff(left) > 1) + 1)
    longest = max(stretches, key=len)
    return int(longest[len(longest) // 2])
