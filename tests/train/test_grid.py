"""Volumes on the grid they are trained on."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.errors import FormatError
from napari_medssl.train.grid import Grid, on_grid
from napari_medssl.volume import Volume


def cube(
    shape: tuple[int, int, int] = (3, 40, 60), spacing: tuple[float, float, float] = (5.0, 1.0, 1.0)
) -> np.ndarray:
    data = np.zeros(shape, np.float32)
    data[1, 10:30, 20:50] = 100
    return data


def test_framed_slices_hold_the_window_in_bytes_and_labels_in_place() -> None:
    data = cube()
    data[0, 0, 0] = np.nan
    volume = Volume(data, np.diag([5.0, 1.0, 1.0, 1.0]))
    framed = on_grid(volume, Grid(size=60), labels=volume.like((data > 50).astype(np.int16) * 9), name="scan.nii")
    assert framed.image.shape == (3, 60, 60)
    assert framed.image.dtype == np.uint8
    assert framed.labels is not None
    assert set(np.unique(framed.labels)) == {0, 9}
    # 60 pixels wide fill 60, 40 high are centred: rows 10 to 50.
    np.testing.assert_array_equal(framed.labels[1] == 9, framed.image[1] == 255)
    assert (framed.labels[1, 20:40, 20:50] == 9).all()
    assert framed.labels.sum() == 9 * 20 * 30
    assert framed.spacing_mm == (5, 1, 1)
    assert framed.image[0].max() == 0  # NaN is dark


@pytest.mark.parametrize("size", [32, 48, 90])
def test_labels_and_image_stay_together_at_any_size(size: int) -> None:
    volume = Volume(cube(), np.diag([5.0, 1.5, 1.0, 1.0]))
    framed = on_grid(volume, Grid(size=size), labels=volume.like((volume.data > 50).astype(np.uint8)), name="scan.nii")
    assert framed.labels is not None
    inside, shown = framed.labels[1] > 0, framed.image[1] > 127
    assert (inside & shown).sum() / (inside | shown).sum() > 0.88  # but for one pixel along the edge
    assert np.argwhere(inside).mean(0) == pytest.approx(np.argwhere(shown).mean(0), abs=0.5)
    assert framed.spacing_mm[1:] == pytest.approx((60 / size, 60 / size))


@pytest.mark.parametrize("value", [256, -1])
def test_labels_that_do_not_fit_a_byte_are_refused_not_renumbered(value: int) -> None:
    volume = Volume(cube(), np.eye(4))
    with pytest.raises(FormatError, match=rf"has labels from .*{value}.*; training takes 0 to 255"):
        on_grid(volume, Grid(size=32), labels=volume.like(np.full(volume.shape, value, np.int32)), name="scan.nii")
