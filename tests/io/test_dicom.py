"""DICOM series: order by position, what belongs together, what is refused and how it is said."""

from __future__ import annotations

import shutil

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import JPEGLSLossless, RLELossless

from napari_medssl.errors import FormatError, GeometryError, MedSSLError
from napari_medssl.geometry import align_to, orientation_codes, same_grid, world_from_index
from napari_medssl.io import describe, dicom_pixels, list_series, read, write
from napari_medssl.volume import Volume


def test_slices_are_sorted_by_position(save_series, voxels):
    volume = read(save_series())
    np.testing.assert_array_equal(volume.data, voxels - 1024)  # LPS axial: already the radiological order
    assert volume.data.dtype == np.int16
    assert volume.modality == "CT"
    assert volume.spacing_mm == pytest.approx((3, 1.5, 2))
    assert volume.notes == ()
    # LPS (-10, -20, 30) is RAS (10, 20, 30).
    np.testing.assert_allclose(world_from_index(volume, (0, 0, 0)), (10, 20, 30))
    np.testing.assert_allclose(world_from_index(volume, (4, 5, 7)), (10 - 14, 20 - 7.5, 42))


def test_reversed_stack_is_turned(save_series, voxels):
    volume = read(save_series(step=(0, 0, -3.0)))
    np.testing.assert_array_equal(volume.data, voxels[::-1] - 1024)
    assert orientation_codes(volume)[0] == "I>S"


@pytest.mark.parametrize(
    ("orientation", "step", "codes"),
    [
        ([0, 1, 0, 0, 0, -1], (3, 0, 0), ("R>L", "S>I", "A>P")),
        ([1, 0, 0, 0, 0, -1], (0, 3, 0), ("A>P", "S>I", "R>L")),
        ([1, 0, 0, 0, 1, 0], (0, 0, 1.0), ("I>S", "A>P", "R>L")),
    ],
    ids=["sagittal", "coronal", "axial thinner than its pixels"],
)
def test_stacking_direction_is_z(save_series, voxels, orientation, step, codes):
    volume = read(save_series(step=step, ImageOrientationPatient=orientation))
    assert orientation_codes(volume) == codes
    np.testing.assert_array_equal(volume.data, voxels - 1024)


def test_agrees_with_simpleitk_on_an_oblique_stack(save_series):
    row = np.array([0.8, 0.6, 0.0])
    column = np.array([-0.36, 0.48, -0.8])
    folder = save_series(step=3 * np.cross(row, column), ImageOrientationPatient=[*row, *column])
    volume = read(folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    for index in [(0, 0, 0), (7, 0, 0), (0, 5, 0), (3, 2, 4)]:
        value = image.GetPixel(*index)
        place = np.argwhere(volume.data == value)[0]
        lps = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(world_from_index(volume, place), np.array(lps) * (-1, -1, 1), atol=1e-4)


def test_mask_of_a_series_lies_on_it(save_series, tmp_path):
    folder = save_series(step=(3, 0, 0), ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    volume = read(folder)
    write(tmp_path / "mask.nii.gz", volume.like((volume.data % 3 == 0).astype(np.uint8)))
    image = nib.load(tmp_path / "mask.nii.gz")
    assert image.shape == (8, 6, 5)
    assert int(image.header["sform_code"]) == 1
    mask = align_to(read(tmp_path / "mask.nii.gz", labels=True), volume)
    np.testing.assert_array_equal(mask.data, volume.data % 3 == 0)
    assert same_grid(mask, volume, tol_mm=0)


def test_gantry_tilt_gives_a_sheared_grid(save_series, tmp_path):
    volume = read(save_series(step=(0, 0.9, 3.0)))
    assert "tilted by 16.7 degrees" in volume.notes[0]
    step = world_from_index(volume, (1, 0, 0)) - world_from_index(volume, (0, 0, 0))
    np.testing.assert_allclose(step, (0, -0.9, 3), atol=1e-9)
    with pytest.raises(GeometryError, match=r"sheared grid .* save as .nii.gz"):
        write(tmp_path / "mask.mha", volume.like(volume.data > 0))


def test_missing_slice_is_named(save_series):
    with pytest.raises(GeometryError, match=r"series: 1 slices are missing: the spacing is 3 mm, but there are 6 mm"):
        read(save_series(skip=(2,)))


def test_uneven_spacing(save_slice, voxels):
    for k, z in enumerate((0, 3, 6.1, 9, 12)):
        folder = save_slice(f"{k}", voxels[k], (0, 0, z)).parent
    volume = read(folder)
    assert "slice spacing varies from 2.9 to 3.1 mm" in volume.notes[0]
    assert volume.spacing_mm[0] == pytest.approx(3)
    save_slice("4", voxels[4], (0, 0, 13.5))
    with pytest.raises(GeometryError, match=r"unevenly spaced \(2.9 to 4.5 mm\)"):
        read(folder)


def test_slices_shifted_sideways_are_refused(save_slice, voxels):
    for k, x in enumerate((0, 5, 0, 5, 0)):
        folder = save_slice(f"{k}", voxels[k], (x, 0, 3 * k)).parent
    with pytest.raises(GeometryError, match="shifted sideways"):
        read(folder)


def test_a_copy_of_a_slice_counts_once(save_series, voxels):
    folder = save_series()
    (folder / "copies").mkdir()
    shutil.copy(folder / "3.dcm", folder / "copies" / "again.dcm")
    volume = read(folder)
    np.testing.assert_array_equal(volume.data, voxels - 1024)
    assert volume.notes == ("1 slices were there twice; one copy of each was used",)


def test_a_second_slice_at_one_place_is_refused(save_series, save_slice, voxels):
    folder = save_series()
    save_slice("extra.dcm", voxels[0], (-10, -20, 33.0), InstanceNumber=1)
    with pytest.raises(GeometryError, match=r"two slices lie at one place \(33.00 mm"):
        read(folder)


def test_echoes_are_volumes_of_a_series(save_series, voxels):
    save_series(prefix="a", EchoTime=4.6)
    folder = save_series(prefix="b", EchoTime=2.3, RescaleIntercept=0)
    first, second = read(folder), read(folder, index=1)
    assert "2 volumes (0: echo time 2.3: 5 slices" in first.notes[0]
    np.testing.assert_array_equal(first.data, voxels)
    np.testing.assert_array_equal(second.data, voxels - 1024)
    assert second.notes == ()
    with pytest.raises(FormatError, match=r"no volume 2; it holds 0: echo time 2.3"):
        read(folder, index=2)


def test_repetitions_without_a_tag_go_by_instance_number(save_series, save_slice, voxels):
    folder = save_series()
    for k in range(5):
        save_slice(f"r{k}", voxels[k] + 1000, (-10, -20, 30 + 3 * k), InstanceNumber=200 + k)
    np.testing.assert_array_equal(read(folder, index=0).data, voxels - 1024)
    np.testing.assert_array_equal(read(folder, index=1).data, voxels - 24)


def test_several_series_are_listed_and_chosen(save_series, voxels):
    save_series(prefix="a", SeriesInstanceUID="1.2.4", SeriesNumber=3, SeriesDescription="native", RescaleIntercept=0)
    folder = save_series(prefix="b")
    with pytest.raises(
        FormatError, match=r"2 series; choose .*\n  series 3, native, CT, 5 slices, UID 1.2.4\n  series 7"
    ):
        read(folder)
    for choice in (3, "3", "1.2.4", "native"):
        np.testing.assert_array_equal(read(folder, series=choice).data, voxels)
    with pytest.raises(FormatError, match="no series 'arterial'"):
        read(folder, series="arterial")
    assert [(s.number, s.n_slices) for s in list_series(folder)] == [(3, 5), (7, 5)]
    facts = describe(folder)
    assert [s["description"] for s in facts["series"]] == ["native", "portal venous"]
    assert "shape_zyx" not in facts
    assert describe(folder, series=7)["shape_zyx"] == [5, 6, 8]


def test_planes_and_sizes_are_not_mixed(save_series, save_slice, voxels):
    folder = save_series()
    save_slice("scout", voxels[0][:, :4], (0, 0, 0), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    save_slice("coronal", voxels[0], (0, 0, 0), ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    volume = read(folder)
    np.testing.assert_array_equal(volume.data, voxels - 1024)
    assert "1 localizer images" in volume.notes[0]
    assert "plane 1: 5 slices of 8 x 6; 1: plane 2: 1 slices" in volume.notes[1]


def test_other_files_are_left_out_with_a_note(save_series, save_slice, voxels):
    folder = save_series()
    (folder / "notes.txt").write_text("nothing")
    save_slice("shot", voxels[0], (0, 0, 0), ImagePositionPatient=None, Modality="OT")
    volume = read(folder)
    assert volume.shape == (5, 6, 8)
    assert "shot (OT) does not say its position" in volume.notes[0]


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"ImagePositionPatient": None}, "does not say its position and orientation"),
        ({"PixelSpacing": None}, "does not say its pixel size"),
        ({"PixelSpacing": [0, 1]}, "must be larger than 0"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "not at right angles"),
        ({"SamplesPerPixel": 3}, "colour image"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour image"),
        ({"Rows": 6000}, r"claims 8 x 6000 x 1 voxels .* but can hold at most 96 bytes"),
        ({"PixelData": None}, "no pixels"),
        ({"Rows": None, "Modality": "RTSTRUCT"}, r"\(RTSTRUCT\) holds no image"),
    ],
)
def test_what_is_no_slice_is_refused(save_slice, voxels, tags, message):
    with pytest.raises(FormatError, match=message):
        read(save_slice("one.dcm", voxels[0], (0, 0, 0), **tags))


def test_one_slice_of_a_series(save_slice, voxels):
    volume = read(save_slice("one.dcm", voxels[2], (0, 0, 5)))
    assert volume.shape == (1, 6, 8)
    assert volume.spacing_mm[0] == 3
    assert "give its folder" in volume.notes[0]


def test_slopes_that_differ_give_floats(save_slice, voxels):
    for k in range(5):
        folder = save_slice(f"{k}", voxels[k], (0, 0, 3 * k), RescaleSlope=0.5 + k, RescaleIntercept=k).parent
    volume = read(folder)
    expected = voxels * (0.5 + np.arange(5))[:, None, None] + np.arange(5)[:, None, None]
    assert volume.data.dtype == np.float32
    np.testing.assert_allclose(volume.data, expected)


def test_enhanced_multi_frame(tmp_path, voxels, save_slice):
    """Frames in one file, in wrong order, with geometry and scaling in functional groups."""
    order = [3, 0, 4, 1, 2]
    in_groups = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept")
    pixels = voxels[order].reshape(-1, 8)
    path = save_slice("mf.dcm", pixels, (0, 0, 0), Rows=6, **dict.fromkeys(in_groups))
    ds = pydicom.dcmread(path)
    ds.NumberOfFrames = 5

    def macro(**tags):
        item = Dataset()
        for name, value in tags.items():
            setattr(item, name, value)
        return Sequence([item])

    shared = Dataset()
    shared.PixelMeasuresSequence = macro(PixelSpacing=[1.5, 2], SliceThickness=3)
    shared.PlaneOrientationSequence = macro(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for k in order:
        frame = Dataset()
        frame.PlanePositionSequence = macro(ImagePositionPatient=[-10, -20, 30 + 3 * k])
        frame.PixelValueTransformationSequence = macro(RescaleSlope=2, RescaleIntercept=-1000)
        frames.append(frame)
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    ds.save_as(path)
    volume = read(path)
    np.testing.assert_array_equal(volume.data, voxels * 2 - 1000)
    np.testing.assert_allclose(world_from_index(volume, (0, 0, 0)), (10, 20, 30))
    assert volume.notes == ()


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless], ids=["RLE", "JPEG-LS"])
def test_compressed_series(save_series, voxels, syntax):
    folder = save_series()
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        ds.compress(syntax, generate_instance_uid=False)
        ds.save_as(path)
    np.testing.assert_array_equal(read(folder).data, voxels - 1024)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless], ids=["RLE", "JPEG-LS"])
def test_simpleitk_steps_in_for_a_decoder_that_is_not_installed(save_series, voxels, syntax, monkeypatch):
    folder = save_series()
    for path in folder.iterdir():
        ds = pydicom.dcmread(path)
        ds.compress(syntax, generate_instance_uid=False)
        ds.save_as(path)
    monkeypatch.setitem(dicom_pixels._DECODERS, syntax, "absent")
    np.testing.assert_array_equal(read(folder).data, voxels - 1024)


def test_lossless_jpeg(save_slice, voxels):
    """Decoded through SimpleITK, which scales by itself: the scaling must not be applied twice."""
    path = save_slice("plain.dcm", voxels[1], (0, 0, 0), PixelRepresentation=0)
    image = sitk.ReadImage(str(path)) + 1024
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(path.with_name("jpeg.dcm")))
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG")
    writer.Execute(sitk.Cast(image, sitk.sitkUInt16))
    ds = pydicom.dcmread(path.with_name("jpeg.dcm"))
    assert ds.file_meta.TransferSyntaxUID.name.startswith("JPEG Lossless")
    slope, intercept = 1, -1024
    ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing = [1.5, 2]
    ds.save_as(path.with_name("jpeg.dcm"))
    np.testing.assert_array_equal(read(path.with_name("jpeg.dcm")).data[0], voxels[1] - 1024)


def test_unknown_transfer_syntax_is_named(save_slice, voxels):
    path = save_slice("video.dcm", voxels[0], (0, 0, 0))
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
    ds["PixelData"].is_undefined_length = True
    ds.PixelData = pydicom.encaps.encapsulate([ds.PixelData])
    ds.save_as(path)
    with pytest.raises(FormatError, match=r"compressed as MPEG2 .* no decoder"):
        read(path)


def outcome(path, labels):
    try:
        return read(path, labels)
    except MedSSLError as error:
        return error


def test_every_odd_file_gives_a_volume_or_our_error(shared_data):
    files = [p for p in (shared_data / "dicom").rglob("*") if p.is_file() and "chaos" not in str(p)]
    outcomes = [
        (path, outcome(path, labels)) for path in [*files, *{p.parent for p in files}] for labels in (False, True)
    ]
    refusals = [(path, str(result)) for path, result in outcomes if isinstance(result, MedSSLError)]
    assert all(str(path) in message and len(message) > len(str(path)) + 10 for path, message in refusals)
    read_well = sum(isinstance(result, Volume) for _, result in outcomes)
    assert read_well + len(refusals) == len(outcomes)
    assert len(files) > 150
    assert read_well > 160


def test_uncompressed_and_compressed_copies_agree(shared_data):
    folder = shared_data / "dicom" / "pydicom" / "test_files"
    plain = read(folder / "MR_small.dcm")
    for name in ("RLE", "bigendian", "expb", "implicit", "jp2klossless", "jpeg_ls_lossless", "padded"):
        copy = read(folder / f"MR_small_{name}.dcm")
        np.testing.assert_array_equal(copy.data, plain.data)
        assert same_grid(copy, plain)


@pytest.mark.parametrize("name", ["693_J2KI.dcm", "CT_small.dcm", "J2K_pixelrep_mismatch.dcm", "examples_overlay.dcm"])
def test_values_agree_with_simpleitk(shared_data, name):
    path = shared_data / "dicom" / "pydicom" / "test_files" / name
    np.testing.assert_array_equal(
        np.sort(read(path).data.ravel()), np.sort(sitk.GetArrayFromImage(sitk.ReadImage(str(path))).ravel())
    )


def test_twelve_bit_jpeg(shared_data, tmp_path):
    ds = pydicom.dcmread(shared_data / "dicom" / "pydicom" / "test_files" / "JPGExtended.dcm")
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    ds.PixelSpacing = [1, 1]
    ds.save_as(tmp_path / "extended.dcm")
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "extended.dcm"))).ravel()
    np.testing.assert_array_equal(np.sort(read(tmp_path / "extended.dcm").data.ravel()), np.sort(expected))
    assert expected.max() > 255


def test_dual_echo_series_of_a_scanner(shared_data):
    folder = shared_data / "dicom" / "chaos_t1dual_case10" / "T1DUAL" / "DICOM_anon"
    out_phase, in_phase = read(folder, index=0), read(folder, index=1)
    assert out_phase.shape == in_phase.shape == (50, 256, 256)
    assert out_phase.spacing_mm == pytest.approx((5.5, 1.894531, 1.894531), abs=1e-4)
    np.testing.assert_array_equal(out_phase.data, read(folder / "OutPhase").data)
    np.testing.assert_array_equal(in_phase.data, read(folder / "InPhase").data)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder / "InPhase")))
    np.testing.assert_array_equal(in_phase.data, sitk.GetArrayFromImage(reader.Execute()))


def test_multi_frame_equals_its_single_frames(shared_data):
    for name in ("23x38x3", "24x38x3"):
        folder = shared_data / "dicom" / "dcmqi_seg" / "segmentations" / name
        single, multi = read(folder / "image"), read(folder / "multiframe" / "mf.dcm")
        np.testing.assert_array_equal(single.data, multi.data)
        assert same_grid(single, multi)


def test_segmentation_object_lies_on_its_image(shared_data):
    folder = shared_data / "dicom" / "dcmqi_seg" / "segmentations"
    scan, seg = read(folder / "ct-3slice"), read(folder / "liver.dcm")
    expected = read(folder / "liver_seg.nrrd", labels=True)
    assert same_grid(scan, seg)
    np.testing.assert_array_equal(seg.data, align_to(expected, scan).data)
    assert [label.name for label in seg.labels] == ["Liver"]
    sparse = read(folder / "sparse-labelmap-ppv5.dcm", labels=True)
    whole = read(folder / "sparse_labelmap_ppv5_seg.nrrd", labels=True)
    np.testing.assert_array_equal(align_to(sparse, read(folder / "24x38x3" / "image")).data == 1, whole.data == 1)


def test_overlapping_segments_are_stated(shared_data):
    seg = read(shared_data / "dicom" / "dcmqi_seg" / "segmentations" / "partial_overlaps.dcm")
    assert "segments overlap" in seg.notes[0]
    assert len(seg.labels) == 5
