"""Scores of pairs: the same masks as the reference path, and what quadrants take away."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from napari_medssl.engine import Engine
from napari_medssl.evaluate.cowpro.scoring import Encoded, _dices, pair_scores
from napari_medssl.evaluate.cowpro.variants import Variant, all_variants
from napari_medssl.oneshot import SegmentSettings, Support
from napari_medssl.oneshot.parts import support_slices
from napari_medssl.oneshot.prototype_settings import PrototypeSettings

RIGHT = (1, "right organ")


def scores_of(query: Encoded, support: Encoded, variants: tuple[Variant, ...]) -> dict[Variant, float]:
    found = pair_scores(query, support, RIGHT, variants, fold=1, encoder="given")
    return {v: s.dice for v, s in zip(variants, found, strict=True)}


def test_scores_are_those_of_the_published_path_of_the_engine(encoded: Callable[..., Encoded]) -> None:
    support, query = encoded(8), encoded(7)
    shown = np.zeros_like(support.labels)
    for z in support_slices(range(1, 7)):
        shown[z] = support.labels[z] == 1
    for variant in (Variant(window=2), Variant("panet"), Variant(threshold="dynamic", percent=10.0)):
        settings = SegmentSettings(method="prototypes", refine="", prototypes=variant.prototypes(PrototypeSettings()))
        found = Engine("cpu", "none").segment(
            query.volume, [Support(support.volume, shown)], slice_range=(1, 7), settings=settings
        )
        truth = query.labels[1:7] == 1
        mask = found.probability[1][1:7] > 0.5
        expected = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
        assert scores_of(query, support, (variant,))[variant] == pytest.approx(expected)


def test_quadrants_take_a_twin_on_the_other_side_away(encoded: Callable[..., Encoded]) -> None:
    plain, *masked = (Variant(window=2, region=r) for r in ("off", "support", "anatomy", "truth"))
    found = scores_of(encoded(7, twin=True), encoded(8), (plain, *masked))
    assert found[plain] < 0.8
    assert all(found[v] > found[plain] + 0.1 for v in masked)


def test_every_variant_has_a_score_and_an_absent_organ_none(encoded: Callable[..., Encoded]) -> None:
    support, query = encoded(8), encoded(7)
    found = pair_scores(query, support, RIGHT, all_variants(), fold=2, encoder="given")
    assert [s.variant for s in found] == [v.name for v in all_variants()]
    assert len({s.variant for s in found}) == len(found)
    assert {(s.fold, s.person, s.support, s.organ) for s in found} == {(2, "p7", "p8.nii.gz", "right organ")}
    assert pair_scores(query, support, (9, "none"), all_variants(), fold=2, encoder="given") == []


def test_dice_of_the_scan_and_of_its_slices() -> None:
    truth, mask = np.zeros((3, 2, 2), bool), np.zeros((3, 2, 2), bool)
    truth[0], truth[1, 0], mask[0, 0], mask[2, 0, 0] = True, True, True, True
    # Slice 0: 2 of 4 found; slice 1: nothing of 2; slice 2: one pixel too many, and no organ there.
    whole, per_slice = _dices(mask, truth)
    assert whole == pytest.approx(2 * 2 / (3 + 6))
    assert per_slice == pytest.approx((2 * 2 / 6 + 0) / 2)


def test_what_no_variant_changes_comes_from_the_settings(encoded: Callable[..., Encoded]) -> None:
    support, query = encoded(8), encoded(7)
    base = PrototypeSettings(temperature=1.0, window=2, threshold="dynamic", top_percent=5.0)
    assert Variant().prototypes(base) == PrototypeSettings(temperature=1.0, threshold="fixed")
    found = [
        pair_scores(query, support, RIGHT, (Variant(window=2),), fold=1, encoder="given", base=b)[0].dice
        for b in (None, base)
    ]
    assert found[0] != found[1]
