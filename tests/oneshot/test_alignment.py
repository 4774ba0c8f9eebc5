"""Finding the height of one scan in another."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.oneshot.alignment import _SCALES, HeightMap, align_heights, slice_summaries


def body(heights_mm: np.ndarray) -> Tensor:
    """Summaries (Z, E) of slices at these heights of one smooth body: neighbours alike, far slices not."""
    rng = np.random.default_rng(0)
    centres, mix = np.linspace(-100, 500, 60), rng.normal(size=(60, 40))
    bumps = np.exp(-(((heights_mm[:, None] - centres) / 15) ** 2))
    return F.normalize(torch.tensor(bumps @ mix, dtype=torch.float32), dim=1)


@pytest.mark.parametrize("shift", [-60.0, 0.0, 44.0])
@pytest.mark.parametrize(("support_mm", "query_mm"), [(5.0, 5.0), (3.0, 6.0), (8.0, 2.5)])
def test_a_known_shift_is_found(shift: float, support_mm: float, query_mm: float) -> None:
    support = np.arange(0, 200, support_mm)
    query = np.arange(0, 200, query_mm)
    found = align_heights(body(support), body(query - shift), support_mm, query_mm)
    for z in (60.0, 100.0, 140.0):
        assert found(z) == pytest.approx(z + shift, abs=6)
    assert found.similarity > 0.6


@pytest.mark.parametrize("scale", [float(_SCALES[0]), float(_SCALES[-1])])
def test_a_known_scale_is_found_with_a_shift(scale: float) -> None:
    support = np.arange(0, 240, 4.0)
    query = np.arange(0, 240, 4.0)
    found = align_heights(body(support), body((query - 20) / scale), 4.0, 4.0)
    assert found.scale == pytest.approx(scale, abs=0.03)
    for z in (50.0, 100.0, 150.0):
        assert found(z) == pytest.approx(scale * z + 20, abs=6)


def test_a_part_of_the_body_is_found_in_the_whole() -> None:
    whole, part = np.arange(0, 400, 5.0), np.arange(130, 230, 5.0)
    found = align_heights(body(part), body(whole), 5.0, 5.0)
    assert found(0) == pytest.approx(130, abs=6)
    back = align_heights(body(whole), body(part), 5.0, 5.0)
    assert back(180) == pytest.approx(50, abs=6)


def test_scans_too_short_to_compare_stay_where_they_are() -> None:
    assert align_heights(body(np.array([0.0])), body(np.array([0.0])), 5.0, 5.0) == HeightMap(1.0, 0.0, -2.0)


def test_a_height_map_is_linear() -> None:
    assert HeightMap(0.9, 12.0, 1.0)(50.0) == pytest.approx(57.0)


def features(depth: int = 5) -> Tensor:
    return torch.randn(depth, 4, 12, 18, generator=torch.Generator().manual_seed(0))


def test_summaries_are_unit_vectors_of_36_cells() -> None:
    found = slice_summaries(features())
    assert found.shape == (5, 4 * 36)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5))


def test_summaries_do_not_change_with_the_strength_of_features_or_what_all_slices_share() -> None:
    torch.testing.assert_close(slice_summaries(features() * 7), slice_summaries(features()), atol=1e-5, rtol=0)
    same = features(1).expand(5, -1, -1, -1)
    # All slices alike: nothing is left that tells them apart, but rounding must not be blown up to a signal of 1.
    assert slice_summaries(same).isfinite().all()


def test_summaries_take_half_precision() -> None:
    torch.testing.assert_close(slice_summaries(features().half()), slice_summaries(features()), atol=5e-3, rtol=0)
