"""`medssl demo` ends with a segmented scan on disk, a table and a picture."""

import json
from functools import partial

import numpy as np
import pytest

from napari_medssl.cli import main
from napari_medssl.cli.one_slice import choose_organs, one_slice_each
from napari_medssl.errors import SettingsError
from napari_medssl.io import read, write
from napari_medssl.samples import catalogue
from napari_medssl.samples.phantom import phantom

FILES = [
    "overlay.png", "result.labels.json", "result.nii.gz", "result.report.json", "scan.nii.gz",
    "support.labels.json", "support.nii.gz", "truth.labels.json", "truth.nii.gz",
]  # fmt: skip


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The phantoms in a size for tests, no data folder, an empty working folder."""
    monkeypatch.setattr(catalogue, "phantom", partial(phantom, shape=(10, 64, 64)))
    monkeypatch.setattr(catalogue, "data_folder", lambda: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def demo(*arguments):
    return main(["demo", *map(str, arguments), "--weights", "none", "--device", "cpu"])


def test_the_default_segments_both_phantoms_offline(small, capsys):
    assert demo("--organs", "liver,left kidney") == 0
    out = capsys.readouterr().out
    assert out.count("volume ml") == 2
    for name in ("phantom-ct", "phantom-mr"):
        folder = small / "output" / f"demo-{name}"
        assert sorted(p.name for p in folder.iterdir()) == FILES
        rows = json.loads((folder / "result.report.json").read_text())["organ_table"]
        assert [r["name"] for r in rows] == ["liver", "left kidney"]
        assert all(r["dice"] > 0.5 for r in rows)


def test_a_second_demo_takes_a_folder_of_its_own(small):
    assert demo("phantom-mr", "--organs", "1") == 0
    first = (small / "output/demo-phantom-mr/result.report.json").read_bytes()
    assert demo("phantom-mr", "--organs", "1") == 0
    assert (small / "output/demo-phantom-mr/result.report.json").read_bytes() == first
    assert (small / "output/demo-phantom-mr-2/result.nii.gz").is_file()


def test_results_in_the_given_folder_are_kept(small, capsys):
    assert demo("phantom-ct", "--organs", "spleen", "--out", small / "here") == 0
    assert demo("phantom-ct", "--organs", "spleen", "--out", small / "here") == 1
    assert "add --force" in capsys.readouterr().err
    assert demo("phantom-ct", "--organs", "spleen", "--out", small / "here", "--force") == 0


def test_a_folder_of_ones_own_labelled_scans(small, capsys):
    scan, labels = phantom("MR", shape=(8, 48, 48), seed=5)
    for kind, volume in (("images", scan), ("labels", labels)):
        (small / "mine" / kind).mkdir(parents=True)
        write(small / "mine" / kind / "p5.nii.gz", volume)
    assert demo("--data", small / "mine", "--organs", "liver", "--out", small / "o") == 0
    assert np.array_equal(read(small / "o/scan.nii.gz").data, scan.data)
    assert demo("--data", small / "mine", "--case", "p6", "--out", small / "o2") == 1
    assert "has no labelled scan 'p6'; it has: p5.nii.gz" in capsys.readouterr().err


def test_a_cancelled_demo_leaves_nothing(small, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("napari_medssl.cli.segmenting.run_job", interrupted)
    assert demo("phantom-ct", "--organs", "liver") == 130
    assert not (small / "output").exists()


def test_samples_are_listed(small, capsys):
    assert main(["demo", "--list"]) == 0
    out = capsys.readouterr().out
    assert "phantom-ct" in out
    assert "spine-ct" in out


def test_unknown_samples_and_organs_are_refused(small, capsys):
    assert demo("brain") == 1
    assert "no sample is called 'brain'" in capsys.readouterr().err
    assert demo("phantom-ct", "--organs", "heart") == 1
    assert "no organ is called 'heart'; choose of: liver" in capsys.readouterr().err
    assert not (small / "output").exists()


def test_a_sample_without_labels_says_how_to_go_on(small, monkeypatch, capsys):
    scan = phantom("CT", shape=(4, 16, 16))[0]
    monkeypatch.setattr(catalogue, "_remote", lambda entry: (scan, None))
    assert demo("body-ct") == 1
    assert "has no labels to learn from" in capsys.readouterr().err


def test_the_support_is_the_largest_slice_and_nothing_else():
    scan, truth = phantom("CT", shape=(10, 64, 64))
    organs = choose_organs(truth, ["Liver", "4"])
    assert [o.name for o in organs] == ["liver", "spleen"]
    support = one_slice_each(scan, truth, organs)
    for organ in organs:
        areas = (truth.data == organ.value).sum((1, 2))
        labelled = np.flatnonzero((support.mask == organ.value).any((1, 2)))
        assert labelled.tolist() == [areas.argmax()]
        assert (support.mask == organ.value).sum() == areas.max()
    with pytest.raises(SettingsError, match="no organ is called"):
        choose_organs(truth, ["5 kidneys"])


def test_a_real_scan_of_the_data_folder(shared_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NAPARI_MEDSSL_DATA", str(shared_data))
    assert demo("mr", "--organs", "left kidney", "--out", tmp_path / "mr") == 0
    (row,) = json.loads((tmp_path / "mr/result.report.json").read_text())["organ_table"]
    assert row["name"] == "left kidney"
    assert row["dice"] > 0.8
