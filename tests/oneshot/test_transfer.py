"""From labelled slices of one scan to logits in another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_medssl.models.features import FeatureStack
from napari_medssl.models.slices import make_frame
from napari_medssl.oneshot.matching import match_logits
from napari_medssl.oneshot.prototypes import Prototypes
from napari_medssl.oneshot.support import Support
from napari_medssl.oneshot.transfer import (
    Labelled,
    OrganMatch,
    OrganRange,
    _organ_ends,
    _weights,
    labelled_slices,
    organ_range,
)
from napari_medssl.volume import Volume

GRID = 12


def stack(depth: int = 10, organ: tuple[int, int] = (3, 7)) -> FeatureStack:
    """Features that differ in a block on the slices of the organ, and by height everywhere."""
    features = torch.zeros(depth, 8, GRID, GRID)
    features[:, 0] = 1
    features[:, 5] = torch.linspace(0, 0.2, depth)[:, None, None]
    features[organ[0] : organ[1], 1, 4:8, 5:9] = 5
    return FeatureStack(features, make_frame((48, 48), (1.0, 1.0), 48), 4)


def support(zs: list[int], organ: int = 2) -> Support:
    mask = np.zeros((10, 48, 48), np.uint8)
    mask[zs, 16:32, 20:36] = organ
    return Support(Volume(np.zeros(mask.shape), np.diag([5.0, 1, 1, 1])), mask)


def test_labelled_slices_come_with_their_features_and_cover() -> None:
    given = stack()
    found = labelled_slices(support([3, 6]), given, 2)
    assert found is not None
    assert found.slices == (3, 6)
    assert torch.equal(found.features, given.data[[3, 6]])
    expected = torch.zeros(2, GRID, GRID)
    expected[:, 4:8, 5:9] = 1
    torch.testing.assert_close(found.cover, expected)


def test_an_organ_not_labelled_there_is_none() -> None:
    assert labelled_slices(support([3, 6]), stack(), 7) is None


@pytest.mark.parametrize(
    ("slices", "ends"),
    [((5,), (4.5, 5.5)), ((10, 20, 30), (5, 35)), ((4, 6), (3, 7)), (tuple(range(3, 9)), (2.5, 8.5))],
)
def test_labelled_slices_are_the_middles_of_equal_parts(slices: tuple[int, ...], ends: tuple[float, float]) -> None:
    assert _organ_ends(slices) == ends


@pytest.mark.parametrize("origin", ["given", "height", "all"])
@pytest.mark.parametrize("slices", [(10, 20, 30), (4,), (1, 2)])
def test_weights_of_a_slice_sum_to_one(origin: str, slices: tuple[int, ...]) -> None:
    found = _weights(range(5, 40), OrganRange(5, 40, origin), slices)
    assert found.shape == (35, len(slices))
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-6)
    assert (found >= 0).all()


def test_weights_follow_the_position_in_the_organ() -> None:
    found = _weights(range(0, 61), OrganRange(0, 61, "given"), (10, 20, 30))
    assert found.argmax(1)[[0, 10, 30, 50, 60]].tolist() == [0, 0, 1, 2, 2]
    np.testing.assert_allclose(found, found[::-1, ::-1], atol=1e-6)  # both ends alike
    np.testing.assert_allclose(found[30], found[30][::-1], atol=1e-6)
    assert (np.diff(found[:, 0]) <= 1e-6).all()


def test_weights_take_the_searched_margin_into_account() -> None:
    # A range found by height is a quarter of the organ longer at each end: the organ is its middle two thirds.
    found = _weights(range(0, 91), OrganRange(0, 91, "height"), (10, 20, 30))
    given = _weights(range(0, 61), OrganRange(0, 61, "given"), (10, 20, 30))
    np.testing.assert_allclose(found[15:76], given, atol=1e-5)


def test_without_a_range_all_labelled_slices_count_alike() -> None:
    np.testing.assert_allclose(_weights(range(4), OrganRange(0, 4, "all"), (1, 2)), 0.5)


def labelled(zs: list[int]) -> Labelled:
    found = labelled_slices(support(zs), stack(), 2)
    assert found is not None
    return found


@pytest.mark.parametrize("depth", [10, 40])  # more slices than are matched at once
def test_the_organ_is_found_where_it_is_and_nowhere_outside_the_range(depth: int) -> None:
    query = stack(depth, (4, depth - 2)).data.roll(2, 3)
    found = OrganMatch(labelled([3, 5]), query).logits(OrganRange(2, depth - 4, "given"))
    assert found.shape == (depth, GRID, GRID)
    expected = torch.zeros(depth, GRID, GRID, dtype=torch.bool)
    expected[4 : depth - 4, 4:8, 7:11] = True
    assert torch.equal(found > 0, expected)
    assert (found[:2] == -20).all()
    assert (found[depth - 4 :] == -20).all()


def test_matching_takes_features_in_half_precision() -> None:
    query, span = stack().data, OrganRange(0, 10, "all")
    full, half = (OrganMatch(labelled([3]), q).logits(span) for q in (query, query.half()))
    torch.testing.assert_close(half, full, atol=0.1, rtol=0)


def test_a_slice_is_matched_once_wherever_the_organ_is_thought_to_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counted(prototypes: Prototypes, query: Tensor) -> Tensor:
        asked.append(len(query))
        return match_logits(prototypes, query)

    monkeypatch.setattr("napari_medssl.oneshot.transfer.match_logits", counted)
    query, narrow = stack(30, (4, 20)).data, OrganRange(5, 25, "recognised")
    match = OrganMatch(labelled([3, 5]), query)
    match.logits(OrganRange(2, 22, "height"))
    assert sum(asked) == 2 * 20
    again = match.logits(narrow)
    assert sum(asked) == 2 * 23  # slices 22, 23 and 24 are new
    torch.testing.assert_close(again, OrganMatch(labelled([3, 5]), query).logits(narrow))


def body(start_mm: float, depth: int, spacing_mm: float) -> Tensor:
    """(Z, D, h, w) features of a body that looks different at every height, from `start_mm` on."""
    g = torch.Generator().manual_seed(0)
    heights = start_mm + spacing_mm * torch.arange(depth)
    bumps = torch.exp(-(((heights[:, None] - torch.linspace(-100, 400, 50)) / 15) ** 2))
    return (bumps @ torch.randn(50, 8 * 36, generator=g)).view(depth, 8, 6, 6)


def test_the_range_is_that_of_the_organ_with_a_margin() -> None:
    # The support starts at 0 mm, the query 40 mm further down; slices of 5 and 4 mm.
    support_features, query_features = body(0, 40, 5), body(-40, 60, 4)
    marked = Labelled((14, 18, 22), torch.zeros(3, 1, 1, 1), torch.zeros(3, 1, 1))
    found = organ_range(marked, support_features, query_features, 5.0, 4.0)
    # Middles of thirds: the organ reaches from slice 12 to 24, with a quarter of it on either side from 9 to 27.
    assert found.origin == "height"
    assert found.low == pytest.approx((9 * 5 + 40) / 4, abs=2.5)
    assert found.high == pytest.approx((27 * 5 + 40) / 4 + 1, abs=2.5)


@pytest.mark.parametrize(("slices", "depth"), [((14,), 40), ((1, 2), 3)])
def test_one_slice_or_a_short_scan_leaves_the_range_open(slices: tuple[int, ...], depth: int) -> None:
    marked = Labelled(slices, torch.zeros(len(slices), 1, 1, 1), torch.zeros(len(slices), 1, 1))
    assert organ_range(marked, body(0, 40, 5), body(0, depth, 5), 5.0, 5.0) == OrganRange(0, depth, "all")


def test_the_range_stays_within_the_scan() -> None:
    marked = Labelled((2, 5, 8), torch.zeros(3, 1, 1, 1), torch.zeros(3, 1, 1))
    found = organ_range(marked, body(0, 40, 5), body(15, 20, 5), 5.0, 5.0)
    assert 0 <= found.low < found.high <= 20
