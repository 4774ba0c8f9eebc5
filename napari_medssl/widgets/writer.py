"""The npe2 writers: File > Save puts layers on the grid of the scan they belong to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from napari_medssl.errors import FormatError
from napari_medssl.io import write, write_segmentation


def write_labels(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a Labels layer with its organ names and colours; the grid is that of its scan. Returns the files.

    Raises FormatError or GeometryError, whose sentence napari shows; an old file then stays as it was.
    """
    from napari_medssl.widgets._layers import layer_from, organs_of, volume_to_save

    layer = layer_from(data, attributes, "labels")
    write_segmentation(path, volume_to_save(layer, organs_of(layer)))
    return [path]


def write_image(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write an Image layer (a scan or a probability map) on its own grid. Returns the files.

    Raises FormatError for a colour picture, otherwise as `write_labels`.
    """
    from napari_medssl.widgets._layers import layer_from, volume_to_save

    if attributes.get("rgb"):
        raise FormatError("a colour (RGB) picture is no scan and cannot be saved as one; save it as PNG or TIFF")
    volume = volume_to_save(layer_from(data, attributes, "image"))
    if volume.data.dtype == np.float16:  # no medical format knows half precision
        volume = volume.like(volume.data.astype(np.float32))
    write(path, volume)
    return [path]
