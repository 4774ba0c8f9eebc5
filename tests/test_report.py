"""Reports are plain JSON, written whole or not at all."""

import json
from pathlib import Path

import numpy as np
import pytest

from napari_medssl.errors import FormatError
from napari_medssl.report import environment, report_path, write_report


def test_numbers_of_any_kind_become_json(tmp_path):
    facts = {"a": np.float32(0.5), "b": (1, np.int64(2)), 3: Path("x"), "nan": float("nan"), "m": np.eye(2), "t": True}
    write_report(tmp_path / "r.json", facts)
    read = json.loads((tmp_path / "r.json").read_text())
    assert read == {"a": 0.5, "b": [1, 2], "3": "x", "nan": None, "m": [[1.0, 0.0], [0.0, 1.0]], "t": True}


def test_a_value_that_is_no_data_leaves_the_old_report_whole(tmp_path):
    path = tmp_path / "r.json"
    write_report(path, {"old": 1})
    with pytest.raises(TypeError, match="cannot hold a object"):
        write_report(path, {"new": object()})
    assert json.loads(path.read_text()) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(FormatError, match="does not exist"):
        write_report(tmp_path / "none" / "r.json", {})


@pytest.mark.parametrize(
    ("output", "report"),
    [("liver.nii.gz", "liver.report.json"), ("a.b.seg.nrrd", "a.b.report.json"), ("x.npz", "x.report.json")],
)
def test_the_report_lies_beside_its_output(output, report):
    assert report_path(Path("d") / output) == Path("d") / report


def test_the_environment_names_versions_and_time():
    facts = environment()
    assert facts["napari_medssl"]
    assert set(facts["libraries"]) >= {"numpy", "torch", "nibabel"}
    assert facts["created"].endswith("+00:00")
