"""Input is checked before work begins."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from napari_medssl.engine.checks import check_request, check_volume
from napari_medssl.errors import MedSSLError, SettingsError, SupportError, VolumeError
from napari_medssl.oneshot import SegmentSettings
from napari_medssl.volume import Volume
from tests.engine.conftest import AFFINE, scan, support_of


def volume(data: np.ndarray) -> Volume:
    return Volume(data, AFFINE)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((0, 4, 4)), "has no voxels"),
        (np.zeros((3, 4, 0), np.int16), "has no voxels"),
        (np.full((3, 4, 4), 7, np.int16), "every voxel of the scan is 7;"),
        (np.full((3, 4, 4), np.nan), "no finite value"),
        (np.where(np.arange(48).reshape(3, 4, 4) > 20, 5.0, np.nan), "every voxel of the scan is 5;"),
        (np.zeros((3, 4, 4), complex), "type complex128"),
        (np.zeros((3, 4, 4), object), "type object"),
    ],
)
def test_unusable_scans_are_refused(data: np.ndarray, message: str) -> None:
    with pytest.raises(VolumeError, match=message):
        check_volume(volume(data))


def test_array_instead_of_a_volume_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"must be a napari_medssl.Volume, not ndarray"):
        check_volume(np.zeros((3, 4, 4)))  # type: ignore[arg-type]


@pytest.mark.parametrize("data", [np.arange(48, dtype=np.uint8), np.arange(48, dtype=">i2"), np.arange(48.0)])
def test_usable_scans_are_not_copied(data: np.ndarray) -> None:
    given = volume(data.reshape(3, 4, 4))
    assert check_volume(given) == (given, ())


def test_voxels_that_are_not_numbers_become_extreme_values() -> None:
    data = np.linspace(10, 20, 3 * 4 * 4).reshape(3, 4, 4).astype(np.float32)
    data[0, 0, :3] = [np.nan, np.inf, -np.inf]
    before = data.copy()
    usable, warnings = check_volume(volume(data))
    low, high = np.nanmin(data[np.isfinite(data)]), np.nanmax(data[np.isfinite(data)])
    assert usable.data[0, 0, :3].tolist() == [low, high, low]
    assert np.array_equal(usable.data.ravel()[3:], data.ravel()[3:])
    assert usable.data.dtype == np.float32
    assert warnings[0].startswith("3 voxels (6.2 %) of the scan are NaN or infinite")
    assert np.array_equal(data, before, equal_nan=True)  # the user's scan is as it was


def test_slabs_see_the_whole_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_medssl.engine.checks._SLAB_VOXELS", 20)
    data = np.ones((5, 4, 4), np.float32)
    data[4, 3, 3] = np.nan
    with pytest.raises(VolumeError, match="every voxel of the scan is 1;"):
        check_volume(volume(data))
    data[3, 0, 0] = 2
    assert "1 voxels" in check_volume(volume(data))[1][0]


@pytest.mark.parametrize("bad", [(0, 11), (-1, 4), (5, 5), (6, 2), (1,), (1, 2, 3), "ab", 4])
def test_slice_range_outside_the_scan_is_refused(bad: object) -> None:
    query = scan()
    with pytest.raises(SettingsError, match="slice_range is"):
        check_request(query, [support_of(query, 5)], slice_range=bad, settings=None)  # type: ignore[arg-type]


def test_slice_range_becomes_plain_numbers() -> None:
    query = scan()
    request = check_request(
        query,
        [support_of(query, 5)],
        slice_range=tuple(np.array([2, 10])),
        settings=None,
    )
    assert request.slice_range == (2, 10)
    assert type(request.slice_range[0]) is int


def test_supports_must_be_given_as_a_list_of_supports() -> None:
    query = scan()
    with pytest.raises(SupportError, match="paint an organ on one slice"):
        check_request(query, [], slice_range=None, settings=None)
    for wrong in (support_of(query, 5), [query]):
        with pytest.raises(TypeError, match=r"list of napari_medssl.Support"):
            check_request(query, wrong, slice_range=None, settings=None)  # type: ignore[arg-type]


def test_settings_outside_their_limits_are_refused() -> None:
    query = scan()
    with pytest.raises(SettingsError, match="threshold is 3"):
        check_request(query, [support_of(query, 5)], slice_range=None, settings=SegmentSettings(threshold=3.0))
    with pytest.raises(TypeError, match="SegmentSettings, not dict"):
        check_request(query, [support_of(query, 5)], slice_range=None, settings={})  # type: ignore[arg-type]


def test_cleaning_keeps_supports_on_the_query_on_the_query() -> None:
    data = scan().data.copy()
    data[0, 0, 0] = np.nan
    query = dataclasses.replace(scan(), data=data)
    other = scan(1)
    request = check_request(
        query, [support_of(query, 5), support_of(other, 4), support_of(query, 6)], slice_range=None, settings=None
    )
    assert [s.volume is request.query for s in request.supports] == [True, False, True]
    assert request.supports[1].volume is other
    assert len(request.warnings) == 1


def test_refused_example_is_numbered() -> None:
    query, flat = scan(), dataclasses.replace(scan(), data=np.zeros((10, 24, 28)))
    with pytest.raises(MedSSLError, match="every voxel of the scan of example 2 is 0"):
        check_request(query, [support_of(query, 5), support_of(flat, 5)], slice_range=None, settings=None)
