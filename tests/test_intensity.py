"""Intensity windows: which values become black and white."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from napari_medssl.errors import SettingsError
from napari_medssl.intensity import CT_WINDOWS, IntensitySettings, guess_modality, to_unit, window_limits
from napari_medssl.settings import check
from napari_medssl.volume import Modality, Volume


def volume(data: np.ndarray, modality: Modality = "auto") -> Volume:
    return Volume(data, np.eye(4), modality)


def ct(dtype: object = np.int16) -> np.ndarray:
    """Half air, half tissue between -100 and 150 HU."""
    data = np.full((4, 20, 20), -1000, np.int16)
    data[:, 5:15] = np.linspace(-100, 150, 4 * 10 * 20).reshape(4, 10, 20)
    return data.astype(dtype)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize(
    ("name", "limits"),
    [("soft-tissue", (-160, 240)), ("liver", (-200, 200)), ("lung", (-1000, 1000)), ("bone", (-500, 1300))],
)
@pytest.mark.parametrize("modality", ["CT", "auto"])
def test_hounsfield_windows_are_fixed(name: str, limits: tuple[float, float], modality: Modality) -> None:
    assert window_limits(volume(ct(), modality), IntensitySettings(window=name)) == limits  # type: ignore[arg-type]


@pytest.mark.parametrize("name", sorted(CT_WINDOWS))
def test_a_hounsfield_window_on_mr_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"window '{name}' is in Hounsfield units but the scan is MR"):
        window_limits(volume(np.zeros((2, 2, 2)), "MR"), IntensitySettings(window=name))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.float64])
def test_auto_takes_the_soft_tissue_window_for_ct(dtype: object) -> None:
    assert guess_modality(ct(dtype)) == "CT"
    assert window_limits(volume(ct(dtype))) == (-160, 240)
    assert window_limits(volume(ct(dtype), "CT")) == (-160, 240)


def test_auto_takes_percentiles_for_mr_and_for_ct_windowed_to_bytes() -> None:
    data = np.arange(1001, dtype=np.uint16).reshape(7, 11, 13)
    assert guess_modality(data) == "MR"
    assert window_limits(volume(data)) == pytest.approx((5, 995))  # 0.5 % and 99.5 % of 0..1000
    assert window_limits(volume(data, "CT")) == pytest.approx((5, 995))  # no negative value: not Hounsfield units
    assert window_limits(volume(ct(), "MR"))[0] == -1000


def test_percentiles_and_full_range_are_settings() -> None:
    data = np.arange(1001, dtype=np.float32).reshape(7, 11, 13)
    tenth = IntensitySettings(window="percentile", low_percentile=10, high_percentile=90)
    assert window_limits(volume(data), tenth) == pytest.approx((100, 900))
    assert window_limits(volume(data), IntensitySettings(window="full")) == (0, 1000)
    with pytest.raises(SettingsError, match="low_percentile is 60"):
        check(IntensitySettings(low_percentile=60))


def test_voxels_that_are_no_numbers_do_not_count() -> None:
    data = np.arange(1001, dtype=np.float32).reshape(7, 11, 13)
    with_holes = np.concatenate([data, np.full((3, 11, 13), np.nan, np.float32)])
    with_holes[-1, 0, :2] = np.inf, -np.inf
    assert window_limits(volume(with_holes)) == pytest.approx((5, 995))
    assert window_limits(volume(with_holes), IntensitySettings(window="full")) == (0, 1000)


@pytest.mark.parametrize("window", ["auto", "percentile", "full"])
@pytest.mark.parametrize("value", [0.0, 7.0, -30.0])
def test_a_constant_volume_gets_limits_one_apart(window: str, value: float) -> None:
    settings = IntensitySettings(window=window)  # type: ignore[arg-type]
    limits = window_limits(volume(np.full((3, 4, 5), value)), settings)
    assert limits == (value, value + 1)
    assert not to_unit(np.full((3, 4, 5), value), limits).any()


def test_nothing_but_nan_gives_a_usable_window() -> None:
    assert window_limits(volume(np.full((2, 3, 4), np.nan))) == (0, 1)


def test_a_mostly_constant_volume_keeps_its_few_bright_voxels() -> None:
    data = np.zeros((10, 20, 20), np.float32)
    data[5, 5, 5] = 80
    assert window_limits(volume(data)) == (0, 80)


def test_large_volumes_are_sampled_across_the_whole_scan() -> None:
    data = np.broadcast_to(np.linspace(0, 1000, 400, dtype=np.float32)[:, None, None], (400, 128, 128))
    assert window_limits(volume(data)) == pytest.approx((5, 995), abs=5)


def test_to_unit_is_linear_between_the_limits_and_clipped_outside() -> None:
    data = np.array([-200, -100, 0, 150, 300, 999], np.int16)
    unit = to_unit(data, (-100, 300))
    assert unit.dtype == np.float32
    np.testing.assert_allclose(unit, [0, 0, 0.25, 0.625, 1, 1])


def test_to_unit_leaves_its_input_and_maps_what_is_no_number() -> None:
    data = np.array([np.nan, np.inf, -np.inf, 5], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(to_unit(data, (0, 10)), [0, 1, 0, 0.5])
    assert np.isnan(data[0])
    assert data[3] == 5
