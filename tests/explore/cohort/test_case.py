"""Which scans a cohort has, and what their results are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_medssl.errors import FormatError
from napari_medssl.explore.cohort.case import cases_from, distinct_names
from tests.explore.cohort.conftest import save_scan


def test_files_and_folders_become_cases_once(tmp_path: Path) -> None:
    for name in ("b", "a", "a_seg"):
        save_scan(tmp_path / f"{name}.nii.gz", 1)
    cases = cases_from([tmp_path / "b.nii.gz", tmp_path, tmp_path / "none.nii"])
    assert [c.name for c in cases] == ["b", "a", "none"]  # a_seg is a label map; none.nii fails later, with its reason
    assert all(c.scan.is_absolute() for c in cases)
    with pytest.raises(FormatError, match="no scan"):
        cases_from([])


def test_equal_names_get_as_much_of_their_folders_as_it_takes() -> None:
    paths = [Path(p) for p in ("/x/p1/scan.nii.gz", "/x/p2/scan.nii.gz", "/y/p1/SCAN.nii", "/z/other.nrrd")]
    assert distinct_names(paths) == ["x_p1_scan", "p2_scan", "y_p1_SCAN", "other"]
    assert distinct_names([Path("/a/b.nii"), Path("/a/b.nrrd")]) == ["b", "b-2"]
    assert distinct_names([Path("/a/d"), Path("/a/d")], ["1.2", "1.3"]) == ["d_1.2", "d_1.3"]


def test_regions_are_matched_by_order_or_by_name(tmp_path: Path) -> None:
    scans = [save_scan(tmp_path / f"{name}.nii.gz", 1) for name in "ab"]
    masks = tmp_path / "masks"
    masks.mkdir()
    (masks / "b.seg.nrrd").touch()
    found = cases_from(scans, regions=[masks])
    assert [c.regions for c in found] == [masks / "a.nii.gz", masks / "b.seg.nrrd"]  # the first is not there: it fails
    found = cases_from(scans, regions=[Path("/m/2.nii"), Path("/m/1.nii")])
    assert [c.regions for c in found] == [Path("/m/2.nii"), Path("/m/1.nii")]
    with pytest.raises(FormatError, match="2 scans and 3 label maps"):
        cases_from(scans, regions=[Path("/m/1.nii")] * 3)
