"""From labelled slices of a scan to its other slices: carried, checked by a random walker, and revised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from napari_medssl.errors import SettingsError
from napari_medssl.oneshot.diffusion import diffuse_near
from napari_medssl.oneshot.edge import widen
from napari_medssl.oneshot.opinion import Example, opinion_steps
from napari_medssl.oneshot.propagation import Anchors, propagate_steps, slice_step
from napari_medssl.oneshot.provider import Carriers
from napari_medssl.oneshot.recognition import Known
from napari_medssl.oneshot.settings import SegmentSettings
from napari_medssl.oneshot.way_back import take_out_strangers_steps
from napari_medssl.progress import Progress, Steps
from napari_medssl.volume import Volume

Maps = dict[int, np.ndarray]
_TRUSTED_MM2 = 700.0  # labelled area at which the random walker has half of its weight
_FINE_MM, _COARSE_MM = 3.0, 6.0  # steps through which the propagator carries alone, and the reviser alone


@dataclass
class Walk:
    """What masks are carried through, and by whom.

    limits: intensity window. slice_range: half-open range of slices walkers stay in, or None. Filled on the way are
    known: what organs were recognised as, and recognised: where, as (Z, Y, X) float16, kept where that is asked again.
    """

    query: Volume
    models: Carriers
    settings: SegmentSettings
    limits: tuple[float, float]
    slice_range: tuple[int, int] | None
    known: dict[int, Known] = field(default_factory=dict)
    recognised: Maps = field(default_factory=dict)


def within_scan_steps(walk: Walk, anchors: Anchors) -> Steps[Maps]:
    """Organ to (Z, Y, X) float16 probability on all slices walkers reached, also on the way into the range.

    All opinions averaged, widened, and through coarse steps rid of what does not find back to the labelled slice.
    Raises SettingsError when the weights hold no propagator.
    """
    maps = yield from opinions_steps(walk, anchors)
    for found in maps.values():
        widen(found)
    if _walks_back(walk):
        yield from take_out_strangers_steps(
            maps,
            anchors,
            lambda parts, slices: first_walk_steps(
                Walk(walk.query, walk.models, walk.settings, walk.limits, slices), parts
            ),
            spacing_mm=walk.query.spacing_mm,
            share=walk.settings.return_share,
            threshold=walk.settings.threshold,
            recognised=walk.recognised,
        )
        walk.recognised.clear()
    return maps


def opinions_steps(walk: Walk, anchors: Anchors) -> Steps[Maps]:
    """The average of all opinions, as `within_scan_steps` gives it before its edge is laid.

    Carried, checked by a random walker, and moved toward what the weights know of the organ where they recognise it.
    Where they hold a reviser, it is guided by the average so far, which it is averaged with. Of organs that are
    recognised, all revisions together are one half of the answer: the first opinions know more than it does. Of others,
    each is one half of what comes of it.
    """
    maps = yield from first_walk_steps(walk, anchors)
    yield from second_opinion(walk, maps, anchors)
    yield from _third_opinion(walk, maps, anchors)
    revised: Maps = {}
    for n in range(1, 1 + walk.settings.revisions * (walk.models.reviser is not None)):
        found = yield from _carry_steps(walk, anchors, guides=maps)
        for organ, one in found.items():
            if organ in revised:
                _take_in(maps[organ], one, revised[organ], n)
                continue
            maps[organ] += one
            maps[organ] /= 2
            if organ in walk.known:
                revised[organ] = one
    return maps


def _take_in(average: np.ndarray, found: np.ndarray, revised: np.ndarray, n: int) -> None:
    """Bring the n-th revision into the average of the first opinions and the mean of revisions, and into that mean.

    All (Z, Y, X) float16, changed in place; `revised` is the mean of those before. Slice by slice: a copy of a map
    would take as much memory again.
    """
    for z in range(len(average)):
        moved = (found[z] - revised[z]) / n
        average[z] += moved / 2
        revised[z] += moved


def _carry_steps(
    walk: Walk,
    anchors: Anchors,
    *,
    guides: Mapping[int, np.ndarray] | None = None,
    unguided: bool = False,
) -> Steps[Maps]:
    """`propagate_steps` by the propagator, or, with guides or `unguided`, by the reviser."""
    revising = unguided or guides is not None
    network = walk.models.reviser if revising else walk.models.propagator
    if network is None:
        raise SettingsError("these weights hold no propagator")
    return (
        yield from propagate_steps(
            walk.query,
            anchors,
            network,
            walk.settings.propagation,
            limits=walk.limits,
            device=walk.models.device,
            slice_range=walk.slice_range,
            keep_way=True,
            tracks=walk.models.tracks,
            identity=f"{walk.models.weights_hash} {'reviser' if revising else 'propagator'}",
            guides=guides,
        )
    )


def second_opinion(walk: Walk, maps: Maps, anchors: Anchors) -> Steps[None]:
    """Average each carried map with a random walker near it, in place."""
    for i, (organ, slices) in enumerate(anchors.items()):
        weight = walk.settings.walker_share * _walker_trust(walk.query, slices)
        if not weight:
            continue
        yield Progress(i, len(anchors), "checking with a random walker")
        walked = diffuse_near(walk.query, slices, maps[organ], limits=walk.limits)
        walked *= weight
        maps[organ] *= 1 - weight
        maps[organ] += walked


def _third_opinion(walk: Walk, maps: Maps, anchors: Anchors) -> Steps[None]:
    """Move maps toward what the weights know of their organs, in place; not on labelled slices."""
    if not walk.settings.known_share:
        return
    for organ, slices in anchors.items():
        examples = [Example(walk.query, walk.limits, slices)]
        opinion = yield from opinion_steps(walk.query, examples, walk.models, walk.limits)
        if opinion is None:
            continue
        walk.known[organ] = opinion.known
        if _walks_back(walk):
            walk.recognised[organ] = opinion.probability
        yield from opinion.blend_steps(maps[organ], walk.settings.known_share)
        for z, mask in slices.items():
            maps[organ][z] = mask
        del opinion  # through thin slices a map less while the next organ is looked for


def first_walk_steps(walk: Walk, anchors: Anchors) -> Steps[Maps]:
    """Carried by the propagator through fine steps, by the reviser without a guide through coarse ones.

    The reviser was trained to find its way from masks that are grossly wrong, which is what thick slices make of the
    mask before; through many fine steps it loses thin organs more easily. In between, both, averaged.
    """
    share = _coarseness(walk) if walk.models.reviser is not None else 0.0
    if share == 0:
        return (yield from _carry_steps(walk, anchors))
    coarse = yield from _carry_steps(walk, anchors, unguided=True)
    if share == 1:
        return coarse
    fine = yield from _carry_steps(walk, anchors)
    for organ, found in fine.items():
        found *= 1 - share
        found += share * coarse[organ]
    return fine


def _coarseness(walk: Walk) -> float:
    """From 0 for steps up to 3 mm to 1 for steps of 6 mm and more (ours)."""
    z_mm = walk.query.spacing_mm[0]
    step = round(slice_step(z_mm, walk.settings.propagation) * z_mm, 3)  # 6 mm of an oblique affine may be 5.9999998
    return float(np.clip((step - _FINE_MM) / (_COARSE_MM - _FINE_MM), 0, 1))


def _walks_back(walk: Walk) -> bool:
    return bool(walk.settings.return_share) and _coarseness(walk) == 1


def _walker_trust(query: Volume, slices: Mapping[int, np.ndarray]) -> float:
    """How much the random walker knows of an organ of this size, in [0, 1).

    Through thick slices it follows large cross-sections well and loses small ones: held-out aorta, cava and adrenals
    fell by 0.1 to 0.3 Dice when it had the same weight for all, liver and kidneys rose.
    """
    _, y_mm, x_mm = query.spacing_mm
    area = max(float(np.asarray(m).sum()) for m in slices.values()) * y_mm * x_mm
    return area / (area + _TRUSTED_MM2) if area else 0.0
