"""The published prototype path on whole volumes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from napari_medssl.labels import default_label
from napari_medssl.oneshot import SegmentSettings, Support
from napari_medssl.oneshot.prototype_settings import PrototypeSettings
from napari_medssl.oneshot.reference import reference_steps
from napari_medssl.progress import finish

# Organs of 18 pixels in cells of 4: windows of two cells, so that some lie inside.
FINE = SegmentSettings(prototypes=PrototypeSettings(window=2, same_area=False))


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def run(models: Any, query: Any, supports: list[Support], **more: Any) -> dict[int, np.ndarray]:
    organs = [default_label(v) for v in (1, 2)]
    given = {"settings": FINE, "slice_range": None, "across": False, **more}
    return finish(reference_steps(query, supports, organs, models=models, **given))


@pytest.mark.parametrize("method", ["cowpro", "alpnet", "panet"])
def test_both_organs_are_found_in_another_scan(models: Any, two_organs: Callable[..., Any], method: str) -> None:
    (query, truth), (other, labels) = two_organs(shift=3, seed=1), two_organs()
    labels[[z for z in range(14) if z != 7]] = 0
    settings = SegmentSettings(prototypes=PrototypeSettings(method=method, window=2, same_area=False))  # type: ignore[arg-type]
    found = run(models, query, [Support(other, labels)], settings=settings)
    assert sorted(found) == [1, 2]
    for value in (1, 2):
        assert found[value].shape == query.shape
        assert found[value].dtype == np.float16
        assert 0 <= found[value].min() <= found[value].max() <= 1
    score = {value: dice(found[value] > 0.5, truth == value) for value in (1, 2)}
    least = 0.3 if method == "panet" else 0.6  # one prototype for all of the background says little
    assert min(score.values()) > least, score


def test_nothing_is_computed_outside_the_range(models: Any, two_organs: Callable[..., Any]) -> None:
    query, labels = two_organs()
    found = run(models, query, [Support(query, labels)], slice_range=(5, 9))
    assert not found[1][:5].any()
    assert not found[1][9:].any()
    assert found[1][5:9].max() > 0.5


def test_examples_that_hold_only_one_of_the_organs_serve_that_one(models: Any, two_organs: Callable[..., Any]) -> None:
    query, _ = two_organs(seed=2)
    (first, labels), (second, again) = two_organs(), two_organs(seed=1)
    found = run(
        models, query, [Support(first, np.where(labels == 1, 1, 0)), Support(second, np.where(again == 2, 2, 0))]
    )
    alone = run(models, query, [Support(first, labels), Support(first, np.where(labels == 2, 2, 0))])
    assert found[1].max() > 0.5
    assert found[2].max() > 0.5
    assert alone[1].shape == found[1].shape


def test_more_slices_than_one_chunk_give_the_same_as_fewer(models: Any, two_organs: Callable[..., Any]) -> None:
    query, labels = two_organs(depth=20)
    support = [Support(query, labels)]
    whole, part = run(models, query, support), run(models, query, support, slice_range=(15, 19))
    np.testing.assert_allclose(whole[1][15:19], part[1][15:19], atol=2e-3)


def test_by_parts_each_labelled_slice_serves_its_third(models: Any, two_organs: Callable[..., Any]) -> None:
    query, _ = two_organs(depth=12, seed=3)
    other, labels = two_organs(depth=12)
    present = np.flatnonzero((labels == 1).any(axis=(1, 2)) & (labels == 2).any(axis=(1, 2)))
    slices = [int(z) for z in (present[0], present[len(present) // 2], present[-1])]
    labels[[z for z in range(12) if z not in slices]] = 0
    together = run(models, query, [Support(other, labels)], slice_range=(3, 9), across=True)
    for part, z in enumerate(slices):
        one = np.where(np.arange(12)[:, None, None] == z, labels, 0)
        rows = slice(3 + 2 * part, 5 + 2 * part)
        alone = run(models, query, [Support(other, one)], slice_range=(3, 9), across=True)
        np.testing.assert_allclose(together[1][rows], alone[1][rows], atol=2e-3)
    union = run(
        models,
        query,
        [Support(other, labels)],
        slice_range=(3, 9),
        across=True,
        settings=dataclasses.replace(FINE, parts=False),
    )
    assert np.abs(union[1].astype(float) - together[1].astype(float)).max() > 1e-3
