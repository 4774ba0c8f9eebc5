"""Slices into the encoder's square and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_medssl.models.features import SliceFrame
from napari_medssl.models.slices import into_frame, make_frame, mask_to_frame, out_of_frame, slice_batch
from napari_medssl.volume import Volume


def blob(shape: tuple[int, int], y: float, x: float, sigma: float) -> Tensor:
    """(1, Y, X) Gaussian."""
    ys, xs = torch.arange(shape[0])[:, None], torch.arange(shape[1])[None]
    return torch.exp(-((ys - y) ** 2 + (xs - x) ** 2) / (2 * sigma**2))[None]


def centre(image: Tensor) -> tuple[float, float]:
    """Centre of mass of an (H, W) image, in pixels."""
    ys, xs = torch.arange(image.shape[0]), torch.arange(image.shape[1])
    total = image.sum()
    return float((image.sum(1) * ys).sum() / total), float((image.sum(0) * xs).sum() / total)


@pytest.mark.parametrize(
    ("shape", "spacing", "inner", "offset"),
    [
        ((100, 100), (1.0, 1.0), (64, 64), (0, 0)),
        ((100, 50), (1.0, 1.0), (64, 32), (0, 16)),
        ((100, 50), (1.0, 2.0), (64, 64), (0, 0)),  # tall pixels: the slice is square in mm
        ((50, 100), (0.5, 1.0), (16, 64), (24, 0)),
        ((1, 300), (1.0, 1.0), (1, 64), (31, 0)),  # never thinner than one pixel
    ],
)
def test_the_longer_physical_side_fills_the_square(
    shape: tuple[int, int], spacing: tuple[float, float], inner: tuple[int, int], offset: tuple[int, int]
) -> None:
    assert make_frame(shape, spacing, 64) == SliceFrame(shape, inner, offset, 64)


def test_anisotropic_pixels_become_square() -> None:
    # A disc of 30 mm in pixels of 1.5 x 0.75 mm is an ellipse in the array and a disc again in the frame.
    shape, spacing = (64, 100), (1.5, 0.75)
    ys = (torch.arange(64)[:, None] - 31.5) * 1.5
    xs = (torch.arange(100)[None] - 49.5) * 0.75
    disc = ((ys**2 + xs**2) < 30**2).float()[None]
    framed = into_frame(disc, make_frame(shape, spacing, 96))[0] > 0.5
    height, width = framed.any(1).sum(), framed.any(0).sum()
    assert abs(int(height) - int(width)) <= 1
    assert int(height) == pytest.approx(60, abs=1.5)  # 60 mm at 96 mm / 96 pixels


@pytest.mark.parametrize(
    ("shape", "spacing", "size"),
    [((80, 60), (1.0, 1.0), 48), ((80, 60), (1.0, 1.0), 160), ((40, 90), (2.1, 1.0), 64), ((33, 57), (1.0, 1.0), 57)],
)
def test_a_smooth_image_survives_the_way_there_and_back(
    shape: tuple[int, int], spacing: tuple[float, float], size: int
) -> None:
    frame = make_frame(shape, spacing, size)
    image = blob(shape, shape[0] * 0.4, shape[1] * 0.55, min(shape) / 5)
    back = out_of_frame(into_frame(image, frame), frame)
    assert back.shape == image.shape
    inside = (slice(None), slice(3, -3), slice(3, -3))  # the outermost pixels lean on the padding
    assert (back - image)[inside].abs().max() < 0.03


@pytest.mark.parametrize("size", [48, 96, 200])
def test_a_marker_keeps_its_place_to_a_fraction_of_a_pixel(size: int) -> None:
    shape, spacing = (90, 70), (1.0, 1.4)
    frame = make_frame(shape, spacing, size)
    framed = into_frame(blob(shape, 30.3, 44.8, 5), frame)
    y, x = centre(framed[0])
    assert (y - frame.offset[0] + 0.5) * shape[0] / frame.inner[0] - 0.5 == pytest.approx(30.3, abs=0.1)
    assert (x - frame.offset[1] + 0.5) * shape[1] / frame.inner[1] - 0.5 == pytest.approx(44.8, abs=0.1)
    assert centre(out_of_frame(framed, frame)[0]) == pytest.approx((30.3, 44.8), abs=0.1)


@pytest.mark.parametrize("stride", [2, 4])
def test_maps_on_the_feature_grid_come_back_in_place(stride: int) -> None:
    frame = make_frame((96, 60), (1.0, 1.0), 96)
    framed = into_frame(blob((96, 60), 50.2, 28.7, 6), frame)
    cells = torch.nn.functional.avg_pool2d(framed, stride)
    assert centre(out_of_frame(cells, frame)[0]) == pytest.approx((50.2, 28.7), abs=0.05)


def test_the_padding_is_dark_and_the_slice_lies_where_the_frame_says() -> None:
    frame = make_frame((20, 40), (1.0, 1.0), 32)
    framed = into_frame(torch.ones(2, 20, 40), frame)
    assert framed.shape == (2, 32, 32)
    assert torch.equal(framed[0].sum(1) > 0, torch.arange(32).ge(8) & torch.arange(32).lt(24))
    assert framed.sum() == 2 * 16 * 32


def test_shrinking_averages_instead_of_picking() -> None:
    stripes = torch.zeros(1, 64, 64)
    stripes[:, :, ::2] = 1  # without anti-aliasing every fourth column would be all 1 or all 0
    framed = into_frame(stripes, make_frame((64, 64), (1.0, 1.0), 16))
    assert (framed[:, :, 2:-2] - 0.5).abs().max() < 0.02


def test_a_mask_becomes_the_share_of_each_pixel_it_covers() -> None:
    mask = np.zeros((1, 40, 40), bool)
    mask[0, :20] = True
    framed = mask_to_frame(mask, make_frame((40, 40), (1.0, 1.0), 10))
    assert framed.dtype == torch.float32
    assert framed.mean() == pytest.approx(0.5, abs=0.01)
    assert framed[0, 0].min() == pytest.approx(1)
    assert framed[0, -1].max() == pytest.approx(0)


def numbered(depth: int) -> Volume:
    """Slice z is 10 z everywhere."""
    return Volume(np.repeat(np.arange(depth, dtype=np.int16) * 10, 64).reshape(depth, 8, 8), np.eye(4))


def test_each_slice_comes_with_its_neighbours_and_the_ends_are_repeated() -> None:
    volume = numbered(5)
    frame = make_frame((8, 8), (1.0, 1.0), 8)
    batch = slice_batch(volume, [0, 3, 4], frame, 3, limits=(0, 40))
    assert batch.shape == (3, 3, 8, 8)
    assert batch.dtype == torch.float32
    expected = torch.tensor([[0, 0, 1], [2, 3, 4], [3, 4, 4]]) / 4
    assert torch.allclose(batch.mean((2, 3)), expected)


@pytest.mark.parametrize(("context", "rows"), [(1, [[2]]), (5, [[0, 1, 2, 3, 3]])])
def test_the_number_of_neighbours_is_free(context: int, rows: list[list[int]]) -> None:
    batch = slice_batch(numbered(4), [2], make_frame((8, 8), (1.0, 1.0), 8), context, limits=(0, 10))
    clipped = (torch.tensor(rows) * 10 / 10).clamp(0, 1)
    assert torch.allclose(batch.mean((2, 3)), clipped)


def test_a_single_slice_is_its_own_neighbour() -> None:
    batch = slice_batch(numbered(1), [0, 0], make_frame((8, 8), (1.0, 1.0), 16), 3, limits=(-10, 10))
    assert batch.shape == (2, 3, 16, 16)
    assert torch.allclose(batch, torch.full_like(batch, 0.5))
