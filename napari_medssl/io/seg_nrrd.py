"""3D Slicer's segmentations (.seg.nrrd): a label map whose header names and colours the segments."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from napari_medssl.errors import FormatError
from napari_medssl.geometry import file_grid, native_grid
from napari_medssl.io.itk import affine_of, file_array, itk_image, open_reader, write_image
from napari_medssl.io.itk import read as read_plain
from napari_medssl.io.label_values import as_labels, complete
from napari_medssl.io.request import Request
from napari_medssl.io.rescale import native_bytes
from napari_medssl.labels import Label, default_label
from napari_medssl.volume import Volume

PARSER_ERRORS: tuple[type[Exception], ...] = ()  # only built-in ones


@dataclasses.dataclass(frozen=True)
class _Segment:
    label: Label
    layer: int


def read(path: Path, request: Request) -> Volume:
    """The label map with the names and colours of its segments, whether or not labels were asked for.

    Slicer keeps overlapping segments in several layers, each counting its labels from 1. They are merged into one map
    with new numbers; where segments overlap the later one wins, which the notes say. With `request.index` a single
    layer is read instead.
    """
    reader, _ = open_reader(path)
    segments = _segments(reader)
    layers = reader.GetNumberOfComponents()
    if layers == 1 or request.index is not None:
        plain = read_plain(path, dataclasses.replace(request, labels=True))
        labels = tuple(s.label for s in segments if s.layer == (request.index or 0))
        return dataclasses.replace(plain, labels=complete(labels, plain.data))
    if not segments:
        raise FormatError(
            f"{path} has {layers} layers but names no segments; read one layer with index=0..{layers - 1}"
        )
    merged, labels, overlap = _merge(file_array(reader), segments)
    grid = native_grid(affine_of(reader), merged.shape, header={"format": "seg.nrrd"})
    notes: tuple[str, ...] = (f"{layers} layers were merged into one label map, with new label numbers",)
    if overlap:
        notes += (f"segments overlap in {overlap} voxels; the later one was kept there",)
    data = as_labels(native_bytes(grid.to_zyx(merged)), path)
    return Volume(data, grid.zyx_affine(), "auto", complete(labels, data), grid, path, notes)


def _merge(layers: np.ndarray, segments: tuple[_Segment, ...]) -> tuple[np.ndarray, tuple[Label, ...], int]:
    """(i, j, k) labels numbered by segment, their table, and in how many voxels segments overlap."""
    merged = np.zeros(layers.shape[:3], np.uint16)
    overlap, table = 0, []
    for number, segment in enumerate(segments, start=1):
        inside = layers[..., segment.layer] == segment.label.value
        overlap += int(np.count_nonzero(merged[inside]))
        merged[inside] = number
        table.append(dataclasses.replace(segment.label, value=number))
    return merged, tuple(table), overlap


def _segments(reader: Any) -> tuple[_Segment, ...]:
    """Segments as the header lists them."""
    keys = set(reader.GetMetaDataKeys())

    def text(number: int, name: str, default: str) -> str:
        key = f"Segment{number}_{name}"
        return str(reader.GetMetaData(key)).strip() if key in keys else default

    found = []
    number = 0
    while f"Segment{number}_ID" in keys or f"Segment{number}_Name" in keys:
        value = int(text(number, "LabelValue", str(number + 1)))
        plain = default_label(max(1, value))
        label = dataclasses.replace(
            plain, name=text(number, "Name", plain.name), color=_rgb(text(number, "Color", ""), plain.color)
        )
        found.append(_Segment(label, int(text(number, "Layer", "0"))))
        number += 1
    return tuple(found)


def _rgb(text: str, default: tuple[int, int, int]) -> tuple[int, int, int]:
    """Bytes of Slicer's three shares of 1."""
    try:
        red, green, blue = (round(min(max(float(c), 0.0), 1.0) * 255) for c in text.split())
    except ValueError:
        return default
    return red, green, blue


def write(path: Path, volume: Volume) -> None:
    """Write a label map as a segmentation that 3D Slicer opens with names, colours and label values."""
    grid = file_grid(volume)
    array = grid.to_native(volume.data)
    image = itk_image(array, grid)
    for key, value in _metadata(array, volume.labels).items():
        image.SetMetaData(key, value)
    write_image(path, image)


def _metadata(array: np.ndarray, labels: tuple[Label, ...]) -> dict[str, str]:
    """Slicer's header fields; array in file order."""
    facts = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for number, label in enumerate(labels):
        start = f"Segment{number}_"
        facts[f"{start}ID"] = f"Segment_{label.value}"
        facts[f"{start}Name"] = " ".join(label.name.split())
        facts[f"{start}NameAutoGenerated"] = "0"
        facts[f"{start}Color"] = " ".join(f"{c / 255:.6f}" for c in label.color)
        facts[f"{start}ColorAutoGenerated"] = "0"
        facts[f"{start}LabelValue"] = str(label.value)
        facts[f"{start}Layer"] = "0"
        facts[f"{start}Extent"] = _extent(array == label.value)
        facts[f"{start}Tags"] = "Segmentation.Status:inprogress|"
    return facts


def _extent(inside: np.ndarray) -> str:
    """First and last index along i, j, k that hold the segment; 0 -1 when it is empty."""
    ends = []
    for axis in range(3):
        used = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        ends += [int(used[0]), int(used[-1])] if used.size else [0, -1]
    return " ".join(map(str, ends))
