"""Where an organ lies by what the weights know of it, and how that is weighed against what was carried or matched.

An organ that is not recognised on its labelled slices gets no opinion, and nothing is added. Ours; the networks that
carry masks know no organ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from napari_medssl.oneshot.provider import Carriers
from napari_medssl.oneshot.recognition import MOST_TRUST, Known, RecogniserAt
from napari_medssl.progress import Steps
from napari_medssl.volume import Volume

_LEAST_AGREED, _AGREED_AND_KNOWN = 0.2, 1.05  # Dice with another opinion, alone and together with the overlap
_SHOWN = 0.05  # probability from which a slice may show the organ


@dataclass(frozen=True)
class Opinion:
    """Where an organ lies by what the weights know.

    probability: (Z, Y, X) float16. at: who found it there, and is asked for other structures in its place; may be None.
    """

    known: Known
    probability: np.ndarray
    at: RecogniserAt | None = None

    def blend_steps(self, found: np.ndarray, share: float, *, low: int = 0, high: int | None = None) -> Steps[None]:
        """Move slices low to high of a (Z, Y, X) map toward the opinion, in place, by `share` of the trust in it.

        What is known to be another structure is taken out as far as that is sure, however little is trusted of the
        rest: a kidney beside a spleen may be known better than the spleen. Yields Progress.
        """
        rows = range(low, len(found) if high is None else high)
        weight = share * self.known.trust
        # Slice by slice: a copy of the map would take as much memory again.
        for z in rows:
            found[z] += weight * (self.probability[z] - found[z])
        # Where it is trusted fully, the others are in it already: the structures of a set exclude each other.
        if self.at is None or not self.known.others or self.known.trust >= MOST_TRUST:
            return
        shown = [z for z in rows if (found[z] >= _SHOWN).any()]
        if not shown:
            return
        others = yield from self.at.others_steps(self.known, shown[0], shown[-1] + 1)
        for z in shown:
            found[z] *= 1 - others.at(z, z + 1)[0]

    def agrees_with(self, found: np.ndarray, *, low: int, high: int) -> bool:
        """Whether a (Z, Y, X) map shows the organ on slices low to high roughly where the opinion does.

        The less sure the organ was recognised in the labelled scan, the more must agree in this one: of livers that
        were recognised with 0.62 those that agreed by 0.43 and more (Dice) were right, and kidneys known with 0.83 and
        more were right wherever the match was not somewhere else altogether (CHAOS, every second scan, and CT).
        """
        likely, other = (p[low:high] >= 0.5 for p in (found, self.probability))
        overlap = 2 * float((likely & other).sum()) / max(1, int(likely.sum()) + int(other.sum()))
        return overlap >= max(_LEAST_AGREED, _AGREED_AND_KNOWN - self.known.overlap)

    def extent(self, found: np.ndarray) -> tuple[int, int] | None:
        """The half-open range of slices of that connected part of the opinion which most of `found` lies in.

        found: (Z, Y, X) probability. None where the two have nothing in common.
        """
        likely = self.probability >= 0.5
        box = (ndimage.find_objects(likely.view(np.int8)) or [None])[0]
        if box is None:
            return None
        parts, _ = ndimage.label(likely[box])
        common = np.bincount(parts[found[box] >= 0.5], minlength=1)
        common[0] = 0
        if not common.any():
            return None
        rows = np.flatnonzero((parts == common.argmax()).any((1, 2)))
        return box[0].start + int(rows[0]), box[0].start + int(rows[-1]) + 1


@dataclass(frozen=True)
class Example:
    """Labelled slices of an organ: the scan they lie in, its intensity window, and slice number to (Y, X) mask."""

    volume: Volume
    limits: tuple[float, float]
    slices: Mapping[int, np.ndarray]


def opinion_steps(
    query: Volume, examples: Sequence[Example], models: Carriers, limits: tuple[float, float]
) -> Steps[Opinion | None]:
    """Where the organ of the examples lies in `query`; None when none of them is recognised. Yields Progress.

    The examples may lie in the query or in other scans; the one that is recognised best decides. limits: the query's
    intensity window. Without a recogniser among the models nothing is known.
    """
    if models.recogniser is None:
        return None
    found = [RecogniserAt(e.volume, models, e.limits).known(e.slices) for e in examples]
    known = max((k for k in found if k is not None), key=lambda k: k.overlap, default=None)
    if known is None:
        return None
    at = RecogniserAt(query, models, limits)
    if known.group not in at.groups:
        return None
    return Opinion(known, (yield from at.probability_steps(known)), at)
