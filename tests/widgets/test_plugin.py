"""The manifest, the reader, the writers and the samples as napari finds them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Layer
from npe2 import PluginManager, PluginManifest

import napari_medssl
from napari_medssl.io import read, write_segmentation
from napari_medssl.labels import Label
from napari_medssl.volume import Volume
from napari_medssl.widgets.reader import get_reader, looks_like_labels, read_layers

MANIFEST = Path(napari_medssl.__file__).parent / "napari.yaml"


@pytest.fixture
def plugins() -> PluginManager:
    """A plugin manager that knows this plugin alone, as from an installation."""
    manager = PluginManager()
    manager.register(PluginManifest.from_file(MANIFEST))
    manager.activate("napari-medssl")
    return manager


def oblique(shape: tuple[int, int, int] = (7, 8, 9)) -> np.ndarray:
    """(4, 4) RAS affine, rotated about all axes, with three spacings."""
    a, b = 0.3, -0.2
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-0.8, 1.1, 4.0])
    affine[:3, 3] = [30.0, -20.0, 55.5]
    return affine


@pytest.fixture
def scan_file(tmp_path: Path) -> Path:
    """An oblique scan on disk."""
    data = np.random.default_rng(1).normal(300, 80, (7, 8, 9)).astype(np.float32)
    path = tmp_path / "knee.nii.gz"
    nibabel.save(nibabel.Nifti1Image(data, oblique()), path)
    return path


def test_manifest_is_valid_and_every_command_exists() -> None:
    manifest = PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    assert manifest.name == "napari-medssl"
    widgets = [w.display_name for w in manifest.contributions.widgets]
    assert widgets == ["One-shot segmentation", "Slice classification", "Pretraining", "Explore features", "Guidance"]


def test_reader_finds_and_scales_a_scan(plugins: PluginManager, scan_file: Path) -> None:
    (reader,) = plugins.iter_compatible_readers([str(scan_file)])
    assert reader.command == "napari-medssl.get_reader"
    ((data, facts, kind),) = get_reader(str(scan_file))(str(scan_file))
    assert kind == "image"
    assert facts["name"] == "knee"
    assert data.shape == (9, 8, 7)  # the thick 4 mm axis is Z
    assert facts["scale"] == pytest.approx((4.0, 1.1, 0.8))
    assert facts["units"] == ("mm", "mm", "mm")
    assert facts["metadata"]["medssl"]["volume"].source == scan_file


def test_reader_takes_folders_and_leaves_other_files(plugins: PluginManager, tmp_path: Path) -> None:
    assert [r.command for r in plugins.iter_compatible_readers([str(tmp_path)])] == ["napari-medssl.get_reader"]
    assert get_reader(str(tmp_path)) is not None
    assert get_reader("holiday.png") is None


def test_labels_are_recognised_and_named(tmp_path: Path, scan_file: Path) -> None:
    scan = read(scan_file)
    mask = np.zeros(scan.shape, np.uint8)
    mask[2:4, 3:5, 1:4] = 3
    path = tmp_path / "mask.nii.gz"
    write_segmentation(path, scan.like(mask, (Label(3, "meniscus", (1, 2, 3)),)))
    ((data, facts, kind),) = read_layers(str(path))
    assert kind == "labels"
    np.testing.assert_array_equal(data, mask)
    assert facts["metadata"]["medssl"]["labels"] == (Label(3, "meniscus", (1, 2, 3)),)
    layer = Layer.create(data, facts, kind)
    np.testing.assert_allclose(layer.get_color(3), np.array([1, 2, 3, 255]) / 255, atol=1e-6)
    assert list(layer.features["organ"]) == ["background", "meniscus"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (np.repeat([0, 0, 0, 1], 100).reshape(4, 10, 10), True),
        (np.repeat([0.0, 0.0, 2.0, 1.0], 100).reshape(4, 10, 10), True),
        (np.arange(400).reshape(4, 10, 10) % 256, False),  # an 8-bit scan
        (np.repeat([0.0, 0.0, 0.5, 1.0], 100).reshape(4, 10, 10), False),  # a probability
        (np.repeat([-1, 0, 0, 1], 100).reshape(4, 10, 10), False),
        (np.zeros((4, 10, 10)), False),
    ],
)
def test_guess_of_label_maps(data: np.ndarray, expected: bool) -> None:
    assert looks_like_labels(data) is expected


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".seg.nrrd", ".mha", ".npz"])
def test_saved_labels_lie_on_the_scan_file(
    plugins: PluginManager, scan_file: Path, tmp_path: Path, ending: str
) -> None:
    viewer = ViewerModel()
    scan = viewer.add_layer(Layer.create(*read_layers(str(scan_file))[0]))
    from napari_medssl.widgets._support import add_support

    labels = add_support(viewer, scan, (Label(1, "tibia", (9, 8, 7)),))
    labels.data[3, 2, 5] = 1
    labels.data[8, 7, 6] = 1
    path = tmp_path / f"out{ending}"
    writer, _ = plugins.get_writer(str(path), ["labels"])
    assert writer is not None
    assert writer.command == "napari-medssl.write_labels"
    written = writer.exec(args=(str(path), *labels.as_layer_data_tuple()[:2]), _registry=plugins.commands)
    assert written == [str(path)]
    back = read(path, labels=True)
    np.testing.assert_array_equal(back.data, labels.data)
    np.testing.assert_allclose(back.affine, scan.metadata["medssl"]["volume"].affine, atol=1e-4)
    if ending.startswith(".nii"):
        np.testing.assert_allclose(nibabel.load(path).affine, nibabel.load(scan_file).affine, atol=1e-5)
        assert nibabel.load(path).shape == (7, 8, 9)


def test_saved_scan_is_the_scan(plugins: PluginManager, scan_file: Path, tmp_path: Path) -> None:
    layer = Layer.create(*read_layers(str(scan_file))[0])
    writer, _ = plugins.get_writer(str(tmp_path / "copy.nii.gz"), ["image"])
    assert writer is not None
    writer.exec(args=(str(tmp_path / "copy.nii.gz"), *layer.as_layer_data_tuple()[:2]), _registry=plugins.commands)
    before, after = nibabel.load(scan_file), nibabel.load(tmp_path / "copy.nii.gz")
    np.testing.assert_allclose(after.get_fdata(), before.get_fdata(), rtol=1e-6)
    np.testing.assert_allclose(after.affine, before.affine, atol=1e-5)


@pytest.mark.parametrize("key", ["phantom_ct", "phantom_mr"])
def test_samples_open_with_their_truth(plugins: PluginManager, key: str) -> None:
    ((name, samples),) = plugins.iter_sample_data()
    assert name == "napari-medssl"
    sample = next(s for s in samples if s.key == key)
    image, truth = sample.open(_registry=plugins.commands)
    assert (image[2], truth[2]) == ("image", "labels")
    assert image[0].shape == truth[0].shape
    assert image[1]["scale"] == truth[1]["scale"]
    assert "liver" in [label.name for label in truth[1]["metadata"]["medssl"]["labels"]]
    assert not truth[1]["visible"]


def test_discovery_and_reading_do_not_import_torch(scan_file: Path) -> None:
    code = (
        "import sys, npe2\n"
        f"manifest = npe2.PluginManifest.from_file({str(MANIFEST)!r})\n"
        "from napari_medssl.widgets.reader import get_reader\n"
        f"layers = get_reader({str(scan_file)!r})({str(scan_file)!r})\n"
        "assert layers[0][2] == 'image'\n"
        "assert not {'torch', 'monai', 'napari.viewer'} & set(sys.modules), sorted(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_damaged_file_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "broken.nii.gz"
    path.write_bytes(b"\x1f\x8b\x08\x00 no gzip")
    with pytest.raises(napari_medssl.errors.FormatError, match=r"broken\.nii\.gz"):
        read_layers(str(path))


def test_one_folder_is_found_by_an_installed_plugin() -> None:
    """The manifest is reachable the way npe2 looks for it: through the entry point of the installed package."""
    found = {m.name for m in PluginManifest.discover() if m.manifest is not None for m in [m.manifest]}
    assert "napari-medssl" in found


def test_volume_without_a_file_is_saved_from_its_layer(tmp_path: Path) -> None:
    from napari_medssl.widgets.writer import write_labels

    data = np.zeros((3, 4, 5), np.uint8)
    data[1, 2, 3] = 2
    layer = Layer.create(data, {"scale": (2.0, 1.0, 0.5), "translate": (10.0, 0.0, 0.0), "name": "loose"}, "labels")
    write_labels(str(tmp_path / "loose.nii.gz"), *layer.as_layer_data_tuple()[:2])
    back = read(tmp_path / "loose.nii.gz", labels=True)
    assert isinstance(back, Volume)
    np.testing.assert_array_equal(back.data, data)
    assert back.spacing_mm == pytest.approx((2.0, 1.0, 0.5))
    np.testing.assert_allclose(back.affine[:3, 3], [0, 0, 10], atol=1e-6)


def test_one_volume_of_a_4d_file_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = np.random.default_rng(0).normal(100, 9, (4, 5, 6, 3)).astype(np.float32)
    path = tmp_path / "series.nii.gz"
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), path)
    asked: list[tuple[str, list[str]]] = []

    def answer(question: str, offered: list[str]) -> str:
        asked.append((question, offered))
        return offered[2]

    monkeypatch.setattr("napari_medssl.widgets.reader._ask", answer)
    ((first, _, _),) = read_layers(str(path))  # nobody to ask: the first, as the reader's note says
    assert asked == []
    monkeypatch.setattr("napari_medssl.widgets.reader._viewer", ViewerModel)
    ((third, _, _),) = read_layers(str(path))
    assert asked == [("series.nii.gz holds 3 volumes. Open which?", ["volume 0", "volume 1", "volume 2"])]
    np.testing.assert_allclose(np.sort(first.ravel()), np.sort(data[..., 0].ravel()))
    np.testing.assert_allclose(np.sort(third.ravel()), np.sort(data[..., 2].ravel()))


def test_one_volume_of_a_dicom_folder_is_asked_for(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shared_data / "dicom" / "chaos_t1dual_case10"
    monkeypatch.setattr("napari_medssl.widgets.reader._viewer", ViewerModel)
    monkeypatch.setattr("napari_medssl.widgets._notify.show_warning", lambda text: None)
    monkeypatch.setattr("napari_medssl.widgets.reader._ask", lambda question, offered: offered[1])
    ((data, _, kind),) = read_layers(str(folder))
    assert kind == "image"
    expected = read(folder, index=1)
    np.testing.assert_array_equal(data, expected.data)
    assert not np.array_equal(data, read(folder, index=0).data)
