"""Random views: identity, known geometry, ranges, and independence of the batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from napari_medssl.transforms.blur import blur_slices
from napari_medssl.transforms.tone import ToneRanges, draw_tone_table
from napari_medssl.transforms.view_presets import VIEW_PRESETS
from napari_medssl.transforms.views import ViewRanges, apply_views, draw_view_matrix, draw_views
from napari_medssl.transforms.white_noise import white_noise

SIZE = 32


def slices(count: int = 3, channels: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, channels, SIZE, SIZE), generator=generator, dtype=torch.uint8)


def parameters(ranges: ViewRanges, seeds: range = range(3)) -> dict[str, Tensor]:
    drawn = [draw_views(np.random.default_rng(s), ranges, count=2, mean=0.4) for s in seeds]
    return {name: torch.stack([d[name] for d in drawn]) for name in drawn[0]}


def test_no_change_gives_the_slice_itself() -> None:
    views = apply_views(slices(channels=3), parameters(ViewRanges()), ViewRanges(), size=SIZE)
    expected = slices(channels=3).float() / 255
    torch.testing.assert_close(views, expected[:, None].expand(-1, 2, -1, -1, -1), atol=2e-5, rtol=0)


def test_mirror_and_quarter_turns_move_pixels_exactly() -> None:
    image = slices(1).float()[0, 0] / 255
    mirrored = apply_views(slices(1), parameters(r := ViewRanges(flip_x=1.0), range(1)), r, size=SIZE)[0, 0, 0]
    torch.testing.assert_close(mirrored, image.flip(1), atol=1e-4, rtol=0)
    r = ViewRanges(quarter_turn=1.0)
    turned = [apply_views(slices(1), parameters(r, range(s, s + 1)), r, size=SIZE)[0, 0, 0] for s in range(8)]
    turns = [[k for k in (1, 2, 3) if torch.allclose(t, torch.rot90(image, k), atol=1e-3)] for t in turned]
    assert all(len(found) == 1 for found in turns)
    assert {found[0] for found in turns} == {1, 2, 3}


def test_crops_keep_their_share_and_lie_in_the_slice() -> None:
    rng, ranges = np.random.default_rng(0), ViewRanges(crop=(0.3, 0.8), ratio=4 / 3)
    matrices = np.stack([draw_view_matrix(rng, ranges) for _ in range(500)])
    half, centre = matrices[:, [0, 1], [0, 1]], matrices[:, :, 2]
    assert (np.abs(centre) + half <= 1 + 1e-6).all()
    area, ratio = half.prod(1), half[:, 0] / half[:, 1]
    assert 0.3 - 1e-6 <= area.min() < 0.35
    assert 0.7 < area.max() <= 0.8 + 1e-6
    assert 3 / 4 - 1e-6 <= ratio.min() < 0.8
    assert 1.25 < ratio.max() <= 4 / 3 + 1e-6


def test_turned_crops_have_no_voids() -> None:
    white = torch.full((2, 1, SIZE, SIZE), 255, dtype=torch.uint8)
    ranges = ViewRanges(rotation_deg=30.0)
    views = apply_views(white, parameters(ranges, range(2)), ranges, size=SIZE)
    assert float(views.min()) > 0.999


@pytest.mark.parametrize("preset", list(VIEW_PRESETS))
def test_presets_reach_their_ranges_and_stay_in_the_unit_range(preset: str) -> None:
    ranges = VIEW_PRESETS[preset]  # type: ignore[index]  # the names come from the table itself
    drawn = parameters(ranges, range(60))
    views = apply_views(slices(60), drawn, ranges, size=SIZE)
    assert views.shape == (60, 2, 1, SIZE, SIZE)
    assert 0 <= float(views.min()) <= float(views.max()) <= 1
    sigma = drawn["blur"]
    assert float(sigma.max()) <= ranges.blur_sigma[1]
    assert float((sigma > 0).float().mean()) == pytest.approx(ranges.blur_chance * (ranges.blur_sigma[1] > 0), abs=0.15)
    holes = (drawn["holes"][..., 0] >= 0).sum(2)
    if ranges.holes[1]:
        assert set(holes.flatten().tolist()) == set(range(ranges.holes[0], ranges.holes[1] + 1))


def test_the_careful_preset_is_careful() -> None:
    medical = VIEW_PRESETS["medical"]
    assert medical.crop[0] >= 0.3
    assert medical.blur_sigma[1] <= 1.0
    assert medical.flip_x == medical.flip_y == medical.holes[1] == 0


def test_a_view_does_not_depend_on_its_batch() -> None:
    ranges = replace(VIEW_PRESETS["thesis-4"], blur_chance=0.5)
    drawn = parameters(ranges)
    together = apply_views(slices(), drawn, ranges, size=SIZE)
    for i in range(3):
        alone = apply_views(slices()[i : i + 1], {k: v[i : i + 1] for k, v in drawn.items()}, ranges, size=SIZE)
        torch.testing.assert_close(alone[0], together[i], atol=1e-6, rtol=0)


def test_holes_are_squares_of_a_quarter_of_the_side() -> None:
    white = torch.full((1, 1, SIZE, SIZE), 255, dtype=torch.uint8)
    ranges = ViewRanges(holes=(1, 1))
    drawn = parameters(ranges, range(1))
    drawn["holes"][:] = 0.5
    black = apply_views(white, drawn, ranges, size=SIZE)[0, 0, 0] == 0
    assert int(black.sum()) == (SIZE // 4) ** 2
    assert bool(black[12:20, 12:20].all())


def test_tables_without_change_are_the_identity_and_contrast_turns_about_the_mean() -> None:
    grey = np.linspace(0, 1, 256)
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(draw_tone_table(rng, ToneRanges(), mean=0.3), grey, atol=1e-6)
    contrast = np.stack([draw_tone_table(rng, ToneRanges(contrast=0.2), mean=102 / 255) for _ in range(50)])
    np.testing.assert_allclose(contrast[:, 102], 0.4, atol=1e-6)
    slopes = (contrast[:, 110] - contrast[:, 90]) / (grey[110] - grey[90])
    assert 0.8 <= slopes.min() < 0.85
    assert 1.15 < slopes.max() <= 1.2
    curves = np.stack([draw_tone_table(rng, ToneRanges(curve=0.5, gamma=1.5), mean=0.4) for _ in range(50)])
    assert float(np.abs(curves[:, 0]).max()) == 0  # air stays air
    assert float(np.abs(curves - grey).max()) > 0.1


def test_blur_agrees_with_a_plain_gaussian_filter() -> None:
    images = slices().float() / 255
    sigma = torch.tensor([0.0, 0.7, 1.9])
    blurred = blur_slices(images, sigma, radius=6)
    torch.testing.assert_close(blurred[0], images[0])
    for i in (1, 2):
        expected = ndimage.gaussian_filter(images[i, 0].double().numpy(), float(sigma[i]), mode="mirror", radius=6)
        np.testing.assert_allclose(blurred[i, 0].numpy(), expected, atol=1e-5)


def test_noise_is_standard_normal_and_follows_its_place() -> None:
    noise = white_noise(torch.tensor([0, 500_000, 0]), (1, 128, 128))
    assert torch.equal(noise[0], noise[2])
    assert float(noise[:2].mean()) == pytest.approx(0, abs=0.02)
    assert float(noise[:2].std()) == pytest.approx(1, abs=0.02)
    assert abs(float((noise[0] * noise[1]).mean())) < 0.03
    with pytest.raises(ValueError, match="the field has"):
        white_noise(torch.tensor([0]), (3000, 3000))
