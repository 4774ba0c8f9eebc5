"""Labelled examples: what is accepted, and what they say of themselves."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medssl.errors import SupportError
from napari_medssl.labels import Label, default_label
from napari_medssl.oneshot.support import Support
from napari_medssl.volume import Volume


def mask(tiny_volume: Volume, dtype: object = np.uint8) -> np.ndarray:
    out = np.zeros(tiny_volume.shape, dtype)  # type: ignore[call-overload]
    out[4, 2:5, 3:6], out[1, 2, 2] = 3, 1
    return out  # type: ignore[no-any-return]


def test_labelled_slices_and_organs_in_order(tiny_volume: Volume) -> None:
    liver = Label(3, "liver", (1, 2, 3))
    support = Support(tiny_volume, mask(tiny_volume), (liver, Label(9, "not there", (0, 0, 1))))
    assert support.slices == (1, 4)
    assert support.organs == (default_label(1), liver)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_whole_numbers_of_any_type_do(tiny_volume: Volume, dtype: object) -> None:
    support = Support(tiny_volume, mask(tiny_volume, dtype))
    assert np.issubdtype(support.mask.dtype, np.integer)
    np.testing.assert_array_equal(support.mask, mask(tiny_volume))


def test_a_yes_or_no_mask_is_organ_one(tiny_volume: Volume) -> None:
    support = Support(tiny_volume, mask(tiny_volume) > 0)
    assert [o.value for o in support.organs] == [1]
    assert support.mask.sum() == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m[:, :, :-1], r"has shape \(6, 10, 11\) but its scan has \(6, 10, 12\); paint or load"),
        (lambda m: m[1], r"has shape \(10, 12\)"),
        (lambda m: m * 0, "empty on every slice; paint an organ on at least one slice"),
        (lambda m: m * 0.5, "fractional values"),
        (lambda m: np.where(m, np.nan, 0.0), "fractional values"),
        (lambda m: -m.astype(int), r"negative labels \(-3\)"),
    ],
)
def test_an_unusable_mask_is_told(tiny_volume: Volume, change: object, message: str) -> None:
    with pytest.raises(SupportError, match=message):
        Support(tiny_volume, change(mask(tiny_volume)))  # type: ignore[operator]
