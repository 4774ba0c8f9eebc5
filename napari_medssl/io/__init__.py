"""Reading and writing volumes: NIfTI, DICOM, NRRD, MetaImage and NumPy archives, without a deep-learning library."""

from napari_medssl.io.describing import describe, describe_volume, list_series
from napari_medssl.io.reading import read
from napari_medssl.io.writing import write, write_segmentation

__all__ = ["describe", "describe_volume", "list_series", "read", "write", "write_segmentation"]
