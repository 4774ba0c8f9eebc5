"""Decoding the pixels of DICOM slices, compressed or not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import FileDataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_modality_lut
from pydicom.pixels.utils import pixel_array

from napari_medssl.errors import FormatError
from napari_medssl.io.dicom_frames import Frame
from napari_medssl.io.limits import MAX_VOXELS, check_claim
from napari_medssl.io.rescale import rescale

# Named, so that the result does not depend on what else is installed. "" lets pydicom take its only own one.
_DECODERS: dict[str, str] = {
    uid.JPEGBaseline8Bit: "pillow",
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.JPEG2000Lossless: "pylibjpeg",
    uid.JPEG2000: "pylibjpeg",
    uid.HTJ2K: "pylibjpeg",
    uid.HTJ2KLossless: "pylibjpeg",
    uid.HTJ2KLosslessRPCL: "pylibjpeg",
    uid.RLELossless: "pydicom",
}
# Decoded by the GDCM inside SimpleITK: Pillow reads neither 12 bits nor lossless JPEG.
_BY_SIMPLEITK = (uid.JPEGExtended12Bit, uid.JPEGLossless, uid.JPEGLosslessSV1)


def load_pixels(frames: Sequence[Frame]) -> np.ndarray:
    """(slice, row, column) intensities after each slice's own rescaling.

    Integers when all slices share one whole-number slope and intercept (CT: int16 HU), else float32.
    Raises FormatError for a transfer syntax that cannot be decoded and for damaged pixel data.
    """
    shape = (len(frames), frames[0].rows, frames[0].columns)
    if math.prod(shape) > MAX_VOXELS:
        raise FormatError(f"{frames[0].path} and its series have {math.prod(shape)} voxels, more than fit in memory")
    stored: np.ndarray | None = None
    places: dict[Path, list[int]] = {}
    for place, frame in enumerate(frames):
        places.setdefault(frame.path, []).append(place)
    for path, wanted in places.items():
        decoded = _decode(path, [frames[i] for i in wanted])
        if stored is None:  # only now is it sure that the first file holds what its header claims
            stored = np.empty(shape, np.result_type(*{f.stored for f in frames}))
        for place, pixels in zip(wanted, decoded, strict=True):
            stored[place] = pixels
    assert stored is not None  # there is at least one frame
    if len({(f.slope, f.intercept) for f in frames}) == 1:
        return rescale(stored, frames[0].slope, frames[0].intercept)
    slopes = np.array([f.slope for f in frames], np.float32)[:, None, None]
    intercepts = np.array([f.intercept for f in frames], np.float32)[:, None, None]
    return stored * slopes + intercepts


def _decode(path: Path, frames: Sequence[Frame]) -> list[np.ndarray]:
    """Stored pixels (row, column) of some frames of one file."""
    dataset = pydicom.dcmread(path, force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        # Old files without a meta header are in the default syntax (PS3.5 section 10).
        dataset.file_meta.TransferSyntaxUID = (
            uid.ExplicitVRLittleEndian if dataset.original_encoding[0] is False else uid.ImplicitVRLittleEndian
        )
    syntax = uid.UID(dataset.file_meta.TransferSyntaxUID)
    if not any(tag in dataset for tag in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise FormatError(f"{path} has an image header but no pixels; copy it again from its source")
    if not syntax.is_encapsulated:
        _check_length(path, dataset)
    if syntax.is_encapsulated and syntax not in _DECODERS and syntax not in _BY_SIMPLEITK:
        raise FormatError(f"{path} is compressed as {syntax.name}, for which there is no decoder; decompress it first")
    plugin = _DECODERS.get(syntax, "")
    if syntax in _BY_SIMPLEITK or (plugin and plugin not in get_decoder(syntax).available_plugins):
        return _decode_with_simpleitk(path, frames)
    several = int(dataset.get("NumberOfFrames") or 1) > 1
    arrays = [pixel_array(dataset, index=f.number if several else 0, decoding_plugin=plugin) for f in frames]
    if "ModalityLUTSequence" in dataset:
        arrays = [np.asarray(apply_modality_lut(a, dataset)) for a in arrays]
    return arrays


def _check_length(path: Path, dataset: FileDataset) -> None:
    frames = int(dataset.get("NumberOfFrames") or 1)
    bits = int(dataset.BitsAllocated)
    shape = (int(dataset.Columns), int(dataset.Rows), frames)
    # A deflated file is compressed as a whole; pydicom has already unpacked it here.
    size = max(len(dataset.get(t) or b"") for t in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))
    check_claim(path, shape if bits >= 8 else (math.ceil(math.prod(shape) / 8),), max(1, bits // 8),
                stored_bytes=size, compressed=False)  # fmt: skip


def _decode_with_simpleitk(path: Path, frames: Sequence[Frame]) -> list[np.ndarray]:
    """Frames decoded by SimpleITK, which returns rescaled values: slope and intercept are taken off again."""
    import SimpleITK as sitk  # half a second, needed for few files

    try:
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    except RuntimeError as error:
        raise FormatError(f"{path} uses a JPEG variant that cannot be decoded; decompress it first") from error
    array = array[None] if array.ndim == 2 else array
    return [np.rint((array[f.number] - f.intercept) / f.slope).astype(f.stored) for f in frames]
