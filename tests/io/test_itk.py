"""NRRD, MetaImage and Slicer segmentations, checked with SimpleITK and with headers written by hand."""

from __future__ import annotations

import itertools
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from napari_medssl.errors import FormatError, GeometryError
from napari_medssl.geometry import orientation_codes, same_grid, world_from_index
from napari_medssl.io import read, write, write_segmentation
from napari_medssl.labels import Label
from napari_medssl.volume import Volume

SHAPE = (4, 5, 7)


def save_itk(path: Path, directions: np.ndarray, spacing=(1.0, 1.2, 3.0), origin=(4.0, -5.0, 6.0)) -> sitk.Image:
    """An (i, j, k) = SHAPE image of different voxels; directions in LPS."""
    image = sitk.GetImageFromArray(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE[::-1]))
    image.SetDirection([float(v) for v in directions.ravel()])
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path))
    return image


def check_against(image: sitk.Image, path: Path) -> None:
    """Read, mask, write, and compare voxels and physical points with SimpleITK alone."""
    volume = read(path)
    for index in itertools.product(*[(0, n - 1) for n in SHAPE]):
        place = np.argwhere(volume.data == image.GetPixel(*index))[0]
        lps = np.array(image.TransformIndexToPhysicalPoint(index))
        np.testing.assert_allclose(world_from_index(volume, place), lps * (-1, -1, 1), atol=1e-6)
    for suffix, tol in ((".nrrd", 1e-9), (".mha", 1e-9), (".mhd", 1e-9), (".nii.gz", 1e-3)):
        write(path.parent / f"mask{suffix}", volume.like(volume.data % 3 == 0))
        mask = sitk.ReadImage(str(path.parent / f"mask{suffix}"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(mask) == 1, sitk.GetArrayFromImage(image) % 3 == 0)
        for index in itertools.product(*[(0, n - 1) for n in SHAPE]):
            np.testing.assert_allclose(
                mask.TransformIndexToPhysicalPoint(index), image.TransformIndexToPhysicalPoint(index), atol=tol
            )


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)))
def test_every_orientation(tmp_path, axes, signs, suffix):
    directions = np.zeros((3, 3))
    directions[axes, range(3)] = signs
    check_against(save_itk(tmp_path / f"scan{suffix}", directions), tmp_path / f"scan{suffix}")


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 8.0)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    suffix=st.sampled_from([".nrrd", ".mha"]),
)
def test_every_oblique_grid(angles, spacing, origin, suffix):
    directions = Rotation.from_euler("zyx", angles, degrees=True).as_matrix()
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"scan{suffix}"
        check_against(save_itk(path, directions, spacing, origin), path)


def test_sheared_grid_fits_nrrd_but_not_metaimage(tmp_path, tiny_volume):
    affine = tiny_volume.affine.copy()
    affine[1, 0] = 0.8
    tilted = Volume(tiny_volume.data, affine)
    write(tmp_path / "tilted.nrrd", tilted)
    assert same_grid(read(tmp_path / "tilted.nrrd"), tilted, tol_mm=1e-6)
    with pytest.raises(GeometryError, match="MetaImage cannot hold a sheared grid"):
        write(tmp_path / "tilted.mha", tilted)
    assert [p.name for p in tmp_path.iterdir()] == ["tilted.nrrd"]


def test_ras_space_and_text_encoding(tmp_path):
    """A header as other programs write it: axes in RAS, numbers as text."""
    header = (
        "NRRD0005\ntype: short\ndimension: 3\nspace: right-anterior-superior\nsizes: 2 3 4\n"
        "space directions: (2,0,0) (0,2,0) (0,0,5)\nspace origin: (10,20,30)\nencoding: ascii\n\n"
    )
    (tmp_path / "text.nrrd").write_text(header + " ".join(map(str, range(24))))
    volume = read(tmp_path / "text.nrrd")
    assert orientation_codes(volume) == ("I>S", "A>P", "R>L")
    np.testing.assert_array_equal(volume.data, np.arange(24).reshape(4, 3, 2)[:, ::-1, ::-1])
    np.testing.assert_allclose(world_from_index(volume, (0, 2, 1)), (10, 20, 30))
    assert volume.notes == ()


def test_missing_orientation_is_stated(tmp_path):
    header = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 3 4\nspacings: 1 1 3\nencoding: raw\n\n"
    (tmp_path / "plain.nrrd").write_bytes(header.encode() + bytes(24))
    assert "does not say how the patient lies" in read(tmp_path / "plain.nrrd").notes[0]


def test_detached_header(tmp_path):
    header = (
        "ObjectType = Image\nNDims = 3\nDimSize = 2 3 4\nElementType = MET_SHORT\nElementSpacing = 1 1 3\n"
        "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementDataFile = scan.raw\n"
    )
    (tmp_path / "scan.mhd").write_text(header)
    (tmp_path / "scan.raw").write_bytes(np.arange(24, dtype="<i2").tobytes())
    np.testing.assert_array_equal(read(tmp_path / "scan.mhd").data.ravel(), np.arange(24))
    (tmp_path / "scan.raw").write_bytes(bytes(20))
    with pytest.raises(FormatError, match=r"2 x 3 x 4 x 1 voxels .* at most 20 bytes"):
        read(tmp_path / "scan.mhd")


def test_mhd_is_one_file(tmp_path, tiny_volume):
    write(tmp_path / "scan.mhd", tiny_volume)
    assert [p.name for p in tmp_path.iterdir()] == ["scan.mhd"]
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "scan.mhd"))), tiny_volume.data)


@pytest.mark.parametrize("vector", [True, False], ids=["components", "fourth axis"])
def test_several_volumes(tmp_path, vector):
    array = np.arange(2 * 3 * 4 * 5, dtype=np.int16).reshape(5, 4, 3, 2)
    image = sitk.GetImageFromArray(array, isVector=vector)
    sitk.WriteImage(image, str(tmp_path / "several.mha"))
    expected = array[..., 1] if vector else array[1]
    np.testing.assert_array_equal(read(tmp_path / "several.mha", index=1).data, expected)
    count = 2 if vector else 5
    assert f"holds {count} volumes; the first one was read" in read(tmp_path / "several.mha").notes[0]
    with pytest.raises(FormatError, match=f"no volume {count}; it holds {count} volumes"):
        read(tmp_path / "several.mha", index=count)


def test_slicer_segmentation_header(tmp_path, tiny_volume):
    data = np.zeros(tiny_volume.shape, np.int64)
    data[1:3, 2:5, 4:9] = 2
    data[0, 0, 0] = 300
    labels = (Label(2, "left kidney", (255, 0, 51)),)
    write(tmp_path / "organs.seg.nrrd", tiny_volume.like(data, labels))
    image = sitk.ReadImage(str(tmp_path / "organs.seg.nrrd"))
    facts = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
    assert facts["Segment0_Name"] == "left kidney"
    assert facts["Segment0_Color"] == "1.000000 0.000000 0.200000"
    assert facts["Segment0_LabelValue"] == "2"
    assert facts["Segment0_Extent"] == "4 8 2 4 1 2"  # i, j, k are x, y, z here
    assert facts["Segment1_LabelValue"] == "300"
    assert facts["Segmentation_ContainedRepresentationNames"] == "Binary labelmap|"
    assert image.GetPixelIDTypeAsString() == "16-bit unsigned integer"
    back = read(tmp_path / "organs.seg.nrrd")
    assert back.labels[0] == labels[0]
    assert back.labels[1].name == "organ 300"
    np.testing.assert_array_equal(back.data, data)


def test_layers_of_a_slicer_segmentation_are_merged(tmp_path):
    layers = np.zeros((2, 3, 4, 2), np.uint8)  # (k, j, i, layer)
    layers[0, ..., 0] = 1
    layers[1, ..., 0] = 2
    layers[0, 0, :, 1] = 1  # overlaps the first segment in four voxels
    image = sitk.GetImageFromArray(layers, isVector=True)
    for number, (name, value, layer) in enumerate([("liver", 1, 0), ("spleen", 2, 0), ("tumour", 1, 1)]):
        for key, text in {"ID": f"S{number}", "Name": name, "LabelValue": str(value), "Layer": str(layer)}.items():
            image.SetMetaData(f"Segment{number}_{key}", text)
    sitk.WriteImage(image, str(tmp_path / "layers.seg.nrrd"))
    volume = read(tmp_path / "layers.seg.nrrd")
    assert [(v.value, v.name) for v in volume.labels] == [(1, "liver"), (2, "spleen"), (3, "tumour")]
    assert "overlap in 4 voxels" in volume.notes[1]
    np.testing.assert_array_equal(np.bincount(volume.data.ravel()), [0, 8, 12, 4])
    second = read(tmp_path / "layers.seg.nrrd", index=1)
    assert [(v.value, v.name) for v in second.labels] == [(1, "tumour")]


def test_image_is_no_segmentation(tmp_path, tiny_volume):
    with pytest.raises(FormatError, match="fractional values"):
        write_segmentation(tmp_path / "organs.seg.nrrd", tiny_volume)
    assert list(tmp_path.iterdir()) == []
