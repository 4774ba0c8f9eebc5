"""Samples are found by name, in the places they may come from."""

import sys
from pathlib import Path

import numpy as np
import pytest

from napari_medssl.errors import FormatError, SettingsError
from napari_medssl.io import write
from napari_medssl.samples import catalogue, folder, mni
from napari_medssl.samples.catalogue import sample, samples
from napari_medssl.samples.folder import data_folder, labelled_files, load_labelled
from napari_medssl.samples.phantom import phantom
from napari_medssl.samples.registry import SampleError
from napari_medssl.volume import Volume


def test_the_phantoms_are_always_there(monkeypatch):
    monkeypatch.setattr(catalogue, "data_folder", lambda: None)
    names = list(samples())
    assert names[:2] == ["phantom-ct", "phantom-mr"]
    assert "ct" not in names
    with pytest.raises(SettingsError, match=r"no sample is called 'liver' here; choose one of: phantom-ct"):
        sample("liver")


def labelled_folder(root, organ_values=(1, 2)):
    image, labels = phantom("CT", shape=(4, 16, 16))
    data = np.zeros(labels.shape, np.uint8)
    for value in organ_values:
        data[1, value] = value
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
    write(root / "images" / "one.nii.gz", image)
    write(root / "labels" / "one.nii.gz", Volume(data, image.affine))
    write(root / "images" / "unlabelled.nii.gz", image)
    return image


def test_a_folder_gives_its_labelled_scans_with_organ_names(tmp_path):
    image = labelled_folder(tmp_path / "chaos_t2")
    (files,) = labelled_files(tmp_path / "chaos_t2")
    scan, labels = load_labelled(files)
    assert np.array_equal(scan.data, image.data)
    assert [(o.value, o.name) for o in labels.labels] == [(1, "liver"), (2, "right kidney")]


def test_a_folder_without_labelled_scans_says_how_it_should_look(tmp_path):
    with pytest.raises(FormatError, match="put scans in images/ and label maps of the same names in labels/"):
        labelled_files(tmp_path)


def test_the_variable_names_the_data_folder(tmp_path, monkeypatch):
    labelled_folder(tmp_path / "btcv_ct")
    monkeypatch.setenv("NAPARI_MEDSSL_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    assert "ct" in samples()
    monkeypatch.setenv("NAPARI_MEDSSL_DATA", str(tmp_path / "none"))
    with pytest.raises(FormatError, match="NAPARI_MEDSSL_DATA names"):
        data_folder()


def test_an_installed_package_looks_nowhere_by_itself(tmp_path, monkeypatch):
    monkeypatch.delenv("NAPARI_MEDSSL_DATA", raising=False)
    monkeypatch.setattr(folder, "__file__", str(tmp_path / "site" / "napari_medssl" / "samples" / "folder.py"))
    (tmp_path / "shared" / "data").mkdir(parents=True)
    (tmp_path / "site").mkdir()
    assert data_folder() is None


def fake_nilearn(root: Path) -> None:
    """A ball of white matter of 60 voxels across in the wheel's files, with a deep and a shallow hole of fluid."""
    data = root / "nilearn" / "datasets" / "data"
    data.mkdir(parents=True)
    (root / "nilearn" / "__init__.py").write_text("raise RuntimeError('nilearn must not be imported')\n")
    depth = 30 - np.linalg.norm(np.indices((64, 64, 64)) - 32, axis=0)
    white, grey = np.where(depth > 0, 200, 0), np.zeros((64, 64, 64))
    white[32, 32, 32:36] = 0  # deep
    white[32, 32, 52:60] = 0  # larger, but near the surface
    grey[32, 20, 20:23] = (230, 127, 128)
    white[32, 20, 20:23] = (210, 126, 127)
    for kind, array in {"t1": np.where(depth > 0, 90, 0), "gm": grey, "wm": white}.items():
        volume = Volume(array.astype(np.uint8), np.eye(4))
        write(data / f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz", volume)


def test_mni_parts_follow_the_tissue_probabilities(tmp_path, monkeypatch):
    fake_nilearn(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nilearn", raising=False)
    assert "mni" in samples()
    t1, parts = mni.load_mni()
    where = [int((parts.data == organ.value).sum()) for organ in parts.labels]
    assert [o.name for o in parts.labels] == ["grey matter", "white matter", "lateral ventricles"]
    assert where[0] == 2, "the likelier tissue, where it has at least one half"
    assert where[2] == 4, "the deep hole, not the larger one at the surface"
    assert t1.modality == "MR"
    assert "nilearn" not in sys.modules


def test_without_nilearn_the_mni_sample_says_what_to_install(monkeypatch):
    monkeypatch.setattr(mni, "find_spec", lambda name: None)
    assert "mni" not in samples()
    with pytest.raises(SampleError, match="pip install nilearn"):
        mni.load_mni()


def test_real_scans_of_the_data_folder_open_by_name(shared_data, monkeypatch):
    monkeypatch.setenv("NAPARI_MEDSSL_DATA", str(shared_data))
    scan, labels = sample("spine-ct").load()
    assert labels is not None
    assert scan.shape == labels.shape
    assert {o.name: int((labels.data == o.value).sum()) for o in labels.labels}["vertebra L3"] == 17698
    assert sample("body-mr").load()[1] is None
    _, organs = sample("mr").load()
    assert organs is not None
    assert [o.name for o in organs.labels] == ["liver", "right kidney", "left kidney", "spleen"]
