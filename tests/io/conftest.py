"""DICOM series made on the fly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

ROWS, COLUMNS = 6, 8


def slice_dataset(pixels: np.ndarray, position: Any, **tags: Any) -> Dataset:
    """A CT slice with 1.5 mm rows and 2 mm columns; `tags` overrule."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CTImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.Modality, ds.SeriesInstanceUID, ds.SeriesNumber = "CT", "1.2.3", 7
    ds.SeriesDescription = "portal venous"
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 1
    ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
    ds.PixelSpacing, ds.SliceThickness = [1.5, 2.0], 3
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.ImagePositionPatient = [float(v) for v in position]
    ds.PixelData = pixels.astype("<i2").tobytes()
    for name, value in tags.items():
        if value is None:
            delattr(ds, name)
        else:
            setattr(ds, name, value)
    return ds


@pytest.fixture
def save_slice(tmp_path: Path) -> Callable[..., Path]:
    """Save a slice: save_slice("name", pixels, position, **tags) gives its path in tmp_path/series."""

    def save(name: str, pixels: np.ndarray, position: Any, **tags: Any) -> Path:
        path = tmp_path / "series" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        slice_dataset(pixels, position, **tags).save_as(path, enforce_file_format=True)
        return path

    return save


@pytest.fixture
def voxels() -> np.ndarray:
    """(5, 6, 8) stored values, every one different: (slice, row, column)."""
    return np.arange(5 * ROWS * COLUMNS, dtype=np.int16).reshape(5, ROWS, COLUMNS)


@pytest.fixture
def save_series(save_slice: Callable[..., Path], voxels: np.ndarray) -> Callable[..., Path]:
    """Save five slices along `step` with names that sort against their positions; gives the folder."""

    def save(step: Any = (0, 0, 3.0), skip: tuple[int, ...] = (), prefix: str = "", **tags: Any) -> Path:
        for k in range(len(voxels)):
            if k in skip:
                continue
            name = f"{prefix}{(k * 7 + 3) % 5}.dcm"
            path = save_slice(
                name, voxels[k], np.array([-10.0, -20, 30]) + k * np.array(step), InstanceNumber=99 - k, **tags
            )
        return path.parent

    return save
