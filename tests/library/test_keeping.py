"""What is kept of a scan comes back in its place; the rest comes back smooth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from napari_medssl.errors import FormatError, VolumeError
from napari_medssl.library.keeping import KeepSettings, box_to_keep, keep_scan, slices_to_keep
from napari_medssl.volume import Volume
from tests.library.conftest import AFFINE, labels, scan


def test_a_whole_scan_comes_back_as_the_same_scan():
    volume = scan()
    kept = keep_scan(volume, range(12))
    assert kept.volume().content_hash == volume.content_hash == kept.source_sha256
    assert kept.detail.dtype == kept.overview.dtype == np.uint8  # whole numbers, though the scan is float32
    assert kept.volume().modality == "MR"


def test_kept_slices_are_exact_and_others_keep_their_means():
    volume = scan()
    kept = keep_scan(volume, [6, 4], box=(2, 20, 3, 25), overview_mm=3.0)
    again = kept.volume().data
    assert kept.slices == (4, 6)
    np.testing.assert_array_equal(again[[4, 6], 2:20, 3:25], volume.data[[4, 6], 2:20, 3:25])
    assert not np.array_equal(again[5], volume.data[5])
    np.testing.assert_allclose(again.mean((1, 2)), volume.data.mean((1, 2)), atol=2.0)
    assert kept.nbytes < volume.data.nbytes / 10


def test_the_overview_is_a_mean_over_blocks_also_at_the_edge():
    data = np.arange(2 * 5 * 7, dtype=np.float32).reshape(2, 5, 7) ** 1.5
    kept = keep_scan(Volume(data, np.diag([1.0, 1.0, 1.0, 1.0])), [0], overview_mm=3.0)
    assert kept.step == (3, 3)
    expected = [[[p[y : y + 3, x : x + 3].mean() for x in (0, 3, 6)] for y in (0, 3)] for p in data]
    np.testing.assert_allclose(kept.overview, expected, rtol=1e-6)


def test_a_linear_picture_survives_its_overview_inside():
    y, x = np.mgrid[:16, :16]
    data = np.repeat((3.0 * y + 0.5 * x)[None], 3, 0).astype(np.float32) + 0.25
    again = keep_scan(Volume(data, np.eye(4)), [0], overview_mm=4.0).volume().data
    np.testing.assert_allclose(again[2, 2:14, 2:14], data[2, 2:14, 2:14], rtol=1e-5)


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint16", "int32", "float32"])
def test_the_type_of_the_voxels_comes_back(kind):
    data = np.arange(3 * 6 * 6).reshape(3, 6, 6).astype(kind)
    kept = keep_scan(Volume(data, np.eye(4)), [0, 1, 2])
    assert kept.volume().data.dtype == kind
    np.testing.assert_array_equal(kept.volume().data, data)


def test_fractions_and_byte_order_are_kept():
    data = (np.arange(2 * 4 * 4).reshape(2, 4, 4) / 8).astype(">f8")
    kept = keep_scan(Volume(data, np.eye(4)), [0, 1])
    assert kept.volume().data.dtype == np.float32
    np.testing.assert_array_equal(kept.volume().data, data)


def test_voxels_that_are_no_numbers_become_dark():
    volume = scan()
    volume.data[6, 3, 3] = np.nan
    assert keep_scan(volume, [6]).volume().data[6, 3, 3] == np.nanmin(volume.data)
    with pytest.raises(VolumeError, match="no voxel of the scan is a number"):
        keep_scan(volume.like(np.full(volume.shape, np.nan, np.float32)), [6])


def test_what_to_keep():
    assert slices_to_keep([0, 6], 12, KeepSettings()) == {0, 1, 5, 6, 7}
    assert slices_to_keep([6], 12, KeepSettings(neighbours=0)) == {6}
    assert slices_to_keep([6], 12, KeepSettings("whole")) == set(range(12))
    where = labels().any(0)
    assert box_to_keep(where, (1.5, 1.5), KeepSettings()) == (0, 24, 0, 28)
    rows, columns = np.flatnonzero(where.any(1)), np.flatnonzero(where.any(0))
    box = box_to_keep(where, (1.5, 3.0), KeepSettings("crop", margin_mm=3.0))
    assert box == (rows[0] - 2, rows[-1] + 3, max(0, columns[0] - 1), min(28, columns[-1] + 2))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slices": (6, 4)}, "not in ascending order"),
        ({"slices": (4, 12)}, "outside the scan"),
        ({"box": (0, 25, 0, 28)}, "outside the slices"),
        ({"box": (0, 23, 0, 28)}, "kept slices have another size"),
        ({"step": (64, 64)}, "impossible pixels"),
        ({"shape": (13, 24, 28)}, "overview has another size"),
        ({"dtype": "object"}, "unknown type 'object'"),
        ({"affine": np.full((4, 4), np.nan)}, "affine"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    kept = keep_scan(Volume(scan().data, AFFINE), [4, 6])
    with pytest.raises(FormatError, match=message):
        dataclasses.replace(kept, **change)
