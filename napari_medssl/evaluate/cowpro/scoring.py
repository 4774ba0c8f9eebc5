"""Dice of every variant on one pair of scans: three labelled slices of one, the organ's range in the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from napari_medssl.evaluate.cowpro.variants import Region, Variant
from napari_medssl.models.features import FeatureStack
from napari_medssl.models.slices import mask_to_frame
from napari_medssl.oneshot.parts import serving_slices, support_slices
from napari_medssl.oneshot.prototype_settings import PrototypeSettings
from napari_medssl.oneshot.quadrants import QuadrantSettings, organ_region
from napari_medssl.oneshot.reference import match_slices
from napari_medssl.volume import Volume

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Encoded:
    """A scan with its truth and its features. labels: (Z, Y, X) on the scan's grid. person: whose it is."""

    name: str
    person: str
    volume: Volume
    labels: npt.NDArray[np.integer]
    stack: FeatureStack


@dataclass(frozen=True)
class Score:
    """One organ of one query, by one support and one variant.

    dice: over all slices from the organ's first to its last (a scan's Dice, as the authors' code). slice_dice: mean of
    the Dice of those slices that hold the organ; the thesis does not say which it means (B7-40).
    encoder: "trained", "given" or "untrained".
    """

    fold: int
    person: str
    query: str
    support: str
    organ: str
    encoder: str
    variant: str
    dice: float
    slice_dice: float


@dataclass(frozen=True, eq=False)
class _Pair:
    """One organ of a pair. rows: query slices to the labelled slice that serves them."""

    query: Encoded
    support: Encoded
    organ: str
    truth: BoolArray
    shown: BoolArray
    rows: dict[int, int]


def pair_scores(
    query: Encoded,
    support: Encoded,
    organ: tuple[int, str],
    variants: Sequence[Variant],
    *,
    fold: int,
    encoder: str,
    base: PrototypeSettings | None = None,
) -> list[Score]:
    """The scores of an organ (value, name), or none where a scan does not show it.

    base: what the variants have in common, such as the temperature.

    Source: thesis 7.4.2. The query's slices with the organ are known, which a user has to say ("oracle", B7-32). The
    ranges of both scans are cut into three equal parts, and the middle slice of each of the support's serves the
    query's (S62).
    """
    value, name = organ
    truth, shown = query.labels == value, support.labels == value
    if not truth.any() or not shown.any():
        return []
    inside = np.flatnonzero(truth.any(axis=(1, 2)))
    labelled = support_slices([int(z) for z in np.flatnonzero(shown.any(axis=(1, 2)))])
    pair = _Pair(query, support, name, truth, shown, serving_slices(labelled, (int(inside[0]), int(inside[-1]) + 1)))
    weights: dict[Region, npt.NDArray[np.float32] | None] = {v.region: _region_weight(pair, v.region) for v in variants}
    made = {v: v.prototypes(base or PrototypeSettings()) for v in variants}
    found = {p: _foreground(pair, p) for p in dict.fromkeys(made.values())}
    scores = []
    for variant in variants:
        probability, weight = found[made[variant]], weights[variant.region]
        mask = (probability if weight is None else probability * weight) > 0.5
        whole, per_slice = _dices(mask, truth[list(pair.rows)])
        scores.append(
            Score(fold, query.person, query.name, support.name, name, encoder, variant.name, whole, per_slice)
        )
    return scores


def _foreground(pair: _Pair, settings: PrototypeSettings) -> npt.NDArray[np.float32]:
    """(rows, Y, X) probability in the organ's range of the query."""
    first = min(pair.rows)
    found = np.zeros((len(pair.rows), *pair.query.volume.shape[1:]), np.float32)
    for z in dict.fromkeys(pair.rows.values()):
        rows = [row for row, serving in pair.rows.items() if serving == z]
        with torch.inference_mode():
            features = pair.support.stack.data[z : z + 1].float()
            masks = mask_to_frame(pair.shown[z : z + 1], pair.support.stack.frame)
            found[[row - first for row in rows]] = match_slices(
                pair.query.stack, rows, features, masks, settings, organ=pair.organ
            )
    return found


def _region_weight(pair: _Pair, region: Region) -> npt.NDArray[np.float32] | None:
    """(Y, X) weight of the quadrants the organ occupies; None for no restriction.

    Organs on both sides of the midline keep their quadrants, as published: the liver is masked too.
    """
    if region == "off":
        return None
    if region == "anatomy":
        settings = QuadrantSettings(source="anatomy", midline="keep")
        return organ_region(pair.query.volume, settings, organ=pair.organ).weight
    slices = np.zeros(len(pair.shown), bool)
    slices[list(pair.rows.values())] = True
    examples = (
        (pair.query.volume, pair.truth)
        if region == "truth"
        else (pair.support.volume, pair.shown & slices[:, None, None])
    )
    settings = QuadrantSettings(source="support", midline="keep")
    return organ_region(pair.query.volume, settings, organ=pair.organ, supports=[examples]).weight


def _dices(mask: BoolArray, truth: BoolArray) -> tuple[float, float]:
    """Dice over all slices, and the mean over slices that hold the organ. (rows, Y, X) each; the truth is not empty."""
    both = (mask & truth).sum(axis=(1, 2))
    total = mask.sum(axis=(1, 2)) + truth.sum(axis=(1, 2))
    held = truth.any(axis=(1, 2))
    return 2.0 * float(both.sum()) / float(total.sum()), float((2.0 * both[held] / total[held]).mean())
