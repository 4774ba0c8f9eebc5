"""What weights know of an organ helps where they recognise it, and does nothing where they do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_medssl.oneshot import segmenter
from napari_medssl.oneshot.segmenter import segment_volume
from napari_medssl.oneshot.settings import SegmentSettings
from napari_medssl.oneshot.support import Support
from napari_medssl.progress import finish
from napari_medssl.volume import SoftRange, Volume

PLAIN = SegmentSettings(refine="", walker_share=0, known_share=1)
Scan = tuple[Volume, np.ndarray]


class Bright(nn.Module):
    """Knows the bright organ of the phantoms; `elsewhere` says it lies low in every slice of a scan,
    `ghost` that there is also a larger one on its first two slices.
    """

    input_size = 64

    def __init__(self, *, elsewhere: bool = False, ghost: bool = False) -> None:
        super().__init__()
        self.ghost = ghost
        self.structures = {"made": ("bright organ",)}
        self.elsewhere = elsewhere

    def groups_for(self, side_mm: float) -> list[str]:
        return list(self.structures)

    def channels(self, group: str) -> slice:
        return slice(0, 2)

    def forward(self, slices: Tensor) -> Tensor:
        organ = (slices[:, 2] > 0.8).float()
        if self.elsewhere and len(slices) > 1:  # only labelled slices are asked for one by one
            organ = torch.zeros_like(organ)
            organ[:, 50:56, 24:40] = 1
        if self.ghost and len(slices) > 1:  # the first slices of a scan are asked first
            organ[:2, 4:60, 4:60] = 1
            self.ghost = False
        return 30 * torch.stack([torch.full_like(organ, 0.5), organ], 1)


class Lost(nn.Module):
    """A propagator that finds nothing."""

    crop_size = 48

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.full_like(inputs[:, 0], -8)


def only(truth: np.ndarray, slices: list[int]) -> np.ndarray:
    mask = np.zeros_like(truth)
    mask[slices] = truth[slices]
    return mask


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


def test_an_organ_that_was_lost_is_found_where_it_is_recognised(models: Any, two_organs: Callable[..., Scan]) -> None:
    query, truth = two_organs()
    models.propagator, models.recogniser = Lost(), Bright()
    support = [Support(query, only(truth, [7]))]
    result = finish(segment_volume(query, support, models=models, settings=PLAIN))
    found = result.labels.data
    assert dice(found == 1, truth == 1) > 0.97
    np.testing.assert_array_equal(found[7], truth[7])  # as it was painted
    assert not (found == 2)[np.arange(len(truth)) != 7].any()  # the other organ is unknown, and stays lost
    assert set(result.report["recognised"]) == {"1"}
    known = result.report["recognised"]["1"]
    assert (known["group"], known["names"], known["structures"]) == ("made", ("bright organ",), (1,))
    assert known["overlap"] > 0.95


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0.0, 0.01), (0.4, 0.5, 0.55)])
def test_the_weight_of_what_is_known_is_set(
    models: Any, two_organs: Callable[..., Scan], share: float, least: float, most: float
) -> None:
    query, truth = two_organs()
    models.propagator, models.recogniser = Lost(), Bright()
    settings = dataclasses.replace(PLAIN, known_share=share)
    result = finish(segment_volume(query, [Support(query, only(truth, [7]))], models=models, settings=settings))
    inside = float(result.probability[1][5][truth[5] == 1].mean())
    assert least <= inside <= most
    assert bool(result.report["recognised"]) == (share > 0)


def test_what_is_not_recognised_is_followed_as_without(models: Any, two_organs: Callable[..., Scan]) -> None:
    query, truth = two_organs()
    support = [Support(query, only(truth, [7]) * (truth == 2))]
    without = finish(segment_volume(query, support, models=models, settings=PLAIN))
    models.recogniser = Bright()
    beside = finish(segment_volume(query, support, models=models, settings=PLAIN))
    np.testing.assert_array_equal(beside.probability[2], without.probability[2])
    assert beside.report["recognised"] == {}


def test_across_scans_a_recognised_organ_begins_and_ends_where_it_is_seen(
    models: Any, two_organs: Callable[..., Scan]
) -> None:
    labelled, truth = two_organs()
    query, answer = two_organs(shift=3, depth=16, seed=1)
    models.recogniser = Bright()
    support = [Support(labelled, only(truth, [4, 7, 9]))]
    result = finish(segment_volume(query, support, models=models, settings=SegmentSettings()))
    rows = np.flatnonzero((answer == 1).any((1, 2)))
    span = {"low": int(rows[0]), "high": int(rows[-1]) + 1, "origin": "recognised"}
    assert result.report["organ_ranges"]["1"] == span
    assert result.report["organ_ranges"]["2"]["origin"] != "recognised"
    assert set(result.report["recognised"]) == {"1"}
    assert dice(result.labels.data == 1, answer == 1) > 0.9


def test_across_scans_a_range_that_was_given_stays(models: Any, two_organs: Callable[..., Scan]) -> None:
    labelled, truth = two_organs()
    query, answer = two_organs(shift=3, depth=16, seed=1)
    models.recogniser = Bright()
    support = [Support(labelled, only(truth, [4, 7, 9]))]
    result = finish(segment_volume(query, support, models=models, settings=SegmentSettings(), slice_range=(5, 10)))
    assert result.report["organ_ranges"]["1"] == {"low": 5, "high": 10, "origin": "given"}
    assert set(result.report["recognised"]) == {"1"}
    assert dice((result.labels.data == 1)[5:10], (answer == 1)[5:10]) > 0.9


def test_across_scans_what_is_seen_somewhere_else_than_matched_is_not_believed(
    models: Any, two_organs: Callable[..., Scan]
) -> None:
    labelled, truth = two_organs()
    query, _ = two_organs(shift=3, depth=16, seed=1)
    support = [Support(labelled, only(truth, [7]) * (truth == 1))]
    without = finish(segment_volume(query, support, models=models, settings=SegmentSettings()))
    models.recogniser = Bright(elsewhere=True)
    result = finish(segment_volume(query, support, models=models, settings=SegmentSettings()))
    np.testing.assert_array_equal(result.probability[1], without.probability[1])
    assert result.report["recognised"] == {}
    assert result.report["organ_ranges"] == without.report["organ_ranges"]


@pytest.mark.parametrize("limits", [None, SoftRange(5, 10)])
def test_across_scans_a_larger_ghost_is_not_the_organ(
    models: Any, two_organs: Callable[..., Scan], limits: SoftRange | None
) -> None:
    labelled, truth = two_organs()
    query, answer = two_organs(shift=3, depth=16, seed=1)
    models.recogniser = Bright(ghost=True)
    support = [Support(labelled, only(truth, [7]) * (truth == 1))]
    result = finish(segment_volume(query, support, models=models, settings=SegmentSettings(), slice_range=limits))
    span = result.report["organ_ranges"]["1"]
    rows = slice(span["low"], span["high"])
    assert span["low"] < span["high"]
    assert span["origin"] == "recognised"
    assert rows == (slice(3, 13) if limits is None else slice(5, 10))
    assert dice((result.labels.data == 1)[rows], (answer == 1)[rows]) > 0.9
    assert not (result.labels.data[:2] == 1).any()


def test_across_scans_nothing_known_is_looked_for_outside_a_range(models: Any, two_organs: Callable[..., Scan]) -> None:
    """Sure slices are taken from the range alone, though the organ is known to go on beyond it."""
    labelled, truth = two_organs()
    query, _ = two_organs(shift=3, depth=16, seed=1)
    models.recogniser = Bright()
    seen: list[np.ndarray] = []
    original = segmenter.polish_steps

    def noted(found: np.ndarray, *rest: Any, **named: Any) -> Any:
        seen.append(found.copy())
        return original(found, *rest, **named)

    support = [Support(labelled, only(truth, [4, 7, 9]) * (truth == 1))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segmenter, "polish_steps", noted)
        finish(segment_volume(query, support, models=models, settings=SegmentSettings(), slice_range=(3, 6)))
    assert (seen[0][3:6] >= 0.5).any()
    assert not (seen[0][:3] >= 0.5).any()
    assert not (seen[0][6:] >= 0.5).any()
