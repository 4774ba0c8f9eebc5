"""Every way to choose examples is measured on the same scans."""

from __future__ import annotations

import math

import pytest

from napari_medssl.engine import Engine
from napari_medssl.errors import SettingsError
from napari_medssl.io import write
from napari_medssl.library.measuring import Trial, measure_steps, summaries
from napari_medssl.progress import finish
from tests.engine.conftest import write_weights
from tests.library.conftest import LIVER, SPLEEN, labels, scan


def trial(scan: str, choice: str, k: int, whole: float, member: str = "") -> Trial:
    return Trial(scan, "liver", choice, k, whole, whole / 2, 2.0, member)


def test_ways_to_choose():
    trials = [
        trial("q", "alone", 1, 0.8, "a"), trial("q", "alone", 2, 0.6, "b"), trial("q", "best", 0, 0.75),
        trial("r", "alone", 2, 0.2, "a"), trial("r", "alone", 1, 0.4, "b"), trial("r", "best", 0, 0.55),
    ]  # fmt: skip
    found = {s.choice: (round(s.whole, 6), round(s.in_range, 6)) for s in summaries(trials)}
    assert found == {
        "always the first": (0.5, 0.25),
        "one at random": (0.5, 0.25),
        "best-matching 1": (0.6, 0.3),
        "all": (0.65, 0.325),
        "best in hindsight 1": (0.6, 0.3),
    }


def test_a_folder_is_measured(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for n in range(4):
        volume = scan(n, shape=(16, 32, 32))
        data = labels((16, 32, 32))
        data[data == 2] = 0 if n == 2 else 2  # one scan without spleen
        write(tmp_path / "images" / f"p{n}.nii.gz", volume)
        write(tmp_path / "labels" / f"p{n}.nii.gz", volume.like(data, (LIVER, SPLEEN)))
    with Engine("cpu", write_weights(tmp_path / "tiny.safetensors")) as engine:
        trials = finish(measure_steps(tmp_path, engine, members=2, ks=()))
        with pytest.raises(SettingsError, match="a library of 4 scans cannot be measured on 4"):
            finish(measure_steps(tmp_path, engine, members=4))
    assert {t.scan for t in trials} == {"p1.nii.gz", "p2.nii.gz"}
    assert {(t.choice, t.k) for t in trials} == {("alone", 1), ("alone", 2), ("best", 0)}
    assert {t.organ for t in trials} == {"liver"}  # the other ball has fewer than 300 voxels
    assert all(0 < t.whole <= 1 and 0 < t.in_range <= 1 for t in trials)
    by_rank = [t for t in trials if t.scan == "p1.nii.gz" and t.choice == "alone"]
    first, second = sorted(by_rank, key=lambda t: t.k)
    assert first.likeness >= second.likeness
    assert {t.member for t in by_rank} == {"p0.nii.gz", "p3.nii.gz"}
    assert math.isnan(next(t for t in trials if t.choice == "best").likeness)
