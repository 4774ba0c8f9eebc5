"""From a coarse match to the organ's outline: carry the surest slices through the rest, and walk from them."""

from __future__ import annotations

import numpy as np

from napari_medssl.oneshot.agreement import Carry, take_out_outlier_steps
from napari_medssl.oneshot.diffusion import diffuse_near
from napari_medssl.oneshot.refine import RefineContext, refiners
from napari_medssl.oneshot.transfer import OrganRange
from napari_medssl.progress import Steps
from napari_medssl.volume import Volume

_SEEDS = 3  # slices carried from: one in each third of what was found


def polish_steps(
    found: np.ndarray,
    span: OrganRange,
    *,
    carry: Carry,
    query: Volume,
    limits: tuple[float, float],
) -> Steps[np.ndarray]:
    """Mean of three opinions: the match, its surest slices carried through the scan, and a random walker from them.

    They fail in different ways: the match is coarse and confuses organs that look alike, the carried map runs past
    the organ's ends, the walker leaks where edges are weak. Before, a sure slice that is another organ is looked for.

    found: (Z, Y, X) float32 probability from matching. span: slices it covers. carry: propagation from anchors.
    `found` stays as it is. Returns (Z, Y, X) float32; `found` itself when nothing was found in it.
    """
    context = RefineContext(query, limits, {})
    clean = refiners["connected"](found.copy(), context)
    seeds = sure_slices(clean, _SEEDS)
    if not seeds:
        return found
    del found  # the caller may have, too
    if (yield from take_out_outlier_steps(clean, seeds, carry)):  # the two others stay
        clean = refiners["connected"](clean, context)
        seeds = sure_slices(clean, _SEEDS)
    anchors = {z: clean[z] >= 0.5 for z in seeds}
    carried = (yield from carry({1: anchors}))[1]
    walked = diffuse_near(query, anchors, clean, limits=limits)
    if span.origin == "given":
        walked[: span.low] = 0
        walked[span.high :] = 0
    clean[: span.low] = 0
    clean[span.high :] = 0
    for z in range(len(clean)):
        if z not in anchors:  # there the carried map and the walker only repeat the match
            clean[z] = (clean[z] + carried[z] + walked[z]) / 3
    return clean


def sure_slices(probability: np.ndarray, count: int) -> list[int]:
    """The slices where the organ is clearest, one in each of `count` equal parts of its extent.

    Clearness is the organ's area times how decided the probabilities inside and just outside it are.
    """
    organ = probability >= 0.5
    area = organ.sum((1, 2))
    present = np.flatnonzero(area)
    if not len(present):
        return []
    decided = np.array([_decidedness(probability[z], organ[z]) for z in present])
    score = np.sqrt(area[present]) * decided
    parts = np.array_split(np.arange(len(present)), min(count, len(present)))
    return [int(present[p[int(np.argmax(score[p]))]]) for p in parts]


def _decidedness(probability: np.ndarray, organ: np.ndarray) -> float:
    near = probability >= 0.1
    return float(np.abs(2 * probability[near] - 1).mean()) if near.any() else 0.0
