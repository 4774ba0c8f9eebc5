"""The npe2 reader: scans as Image layers, label maps as Labels layers, on the volume's own grid in millimetres."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medssl.errors import FormatError
from napari_medssl.io import read
from napari_medssl.io.formats import stem_of, suffix_of
from napari_medssl.io.label_table import table_path
from napari_medssl.labels import default_label
from napari_medssl.volume import Volume
from napari_medssl.widgets._grid_file import grid_layer, is_grid_file

if TYPE_CHECKING:
    from napari_medssl.io.dicom_series import Series

LayerData = tuple[np.ndarray, dict[str, Any], str]
PathOrPaths = str | Sequence[str]

_DICOM = (".dcm", ".dicom", ".ima")
_ENDINGS = (".nii", ".nii.gz", ".mgz", ".mgh", ".nrrd", ".seg.nrrd", ".nhdr", ".mha", ".mhd", ".npz", *_DICOM)
# A label map has few distinct whole values, most voxels 0. Scans of 8 bits have around 256 values.
_MOST_LABELS = 120
_SAMPLE = 500_000


def get_reader(path: PathOrPaths) -> Callable[[PathOrPaths], list[LayerData]] | None:
    """The reading function, or None when the path is nothing we read."""
    first = Path(path if isinstance(path, str) else path[0])
    if first.suffix.lower() == ".zarr":
        return read_layers if is_grid_file(first) else None  # other arrays in Zarr are for other readers
    return read_layers if first.is_dir() or suffix_of(first) in _ENDINGS else None


def read_layers(path: PathOrPaths) -> list[LayerData]:
    """Layers of one file or DICOM folder, or of several files one after the other.

    Raises FormatError or GeometryError, whose sentence napari shows.
    """
    from napari_medssl.widgets._layers import image_layer, labels_layer

    layers = []
    for one in [path] if isinstance(path, str) else list(path):
        place = Path(one)
        if is_grid_file(place):
            layers.append(grid_layer(place))
            continue
        volume = _read(place)
        name = place.name if place.is_dir() else stem_of(place)
        layers.append(labels_layer(volume, name) if volume.labels else image_layer(volume, name))
        _tell(volume)
    _show_orientation()
    return layers


def looks_like_labels(data: np.ndarray) -> bool:
    """Whether an array without any hint is a label map: few whole values from 0, background the commonest."""
    step = max(1, data.size // _SAMPLE)
    values = data.ravel()[::step]
    if not values.size or values.dtype.kind not in "uibf":
        return False
    if values.dtype.kind == "f" and not np.array_equal(values, np.rint(values)):
        return False
    present, counts = np.unique(values, return_counts=True)
    few = 2 <= len(present) <= _MOST_LABELS and float(present[-1]) <= np.iinfo(np.uint16).max
    return bool(few and present[0] == 0 and counts[0] == counts.max() and counts[0] > values.size // 4)


def _read(place: Path) -> Volume:
    if place.is_dir() or suffix_of(place) in _DICOM:
        return _read_dicom(place)
    if suffix_of(place) == ".seg.nrrd" or table_path(place).is_file():
        return _labelled(read(place, labels=True))
    volume = read(place, index=_choose_of_4d(place))
    if volume.modality == "CT" or not looks_like_labels(volume.data):
        return volume
    return _labelled(read(place, labels=True))


def _read_dicom(place: Path) -> Volume:
    from napari_medssl.io.dicom_series import find

    found = find(place)
    if found.segmentations and not found.series:
        return _labelled(read(place, labels=True))
    series, index = _choose_series(place, found.series)
    return read(place, series=series, index=index)


def _labelled(volume: Volume) -> Volume:
    """With an entry for every value, so that a label map without a table is told from a scan."""
    from napari_medssl.widgets._layers import complete

    return dataclasses.replace(volume, labels=complete(volume.labels, volume.data) or (default_label(1),))


def _choose_series(place: Path, series: Sequence[Series]) -> tuple[str | None, int | None]:
    """Ask which volume of a DICOM folder to open, as UID and index; nothing when there is one, or nobody to ask."""
    offered: dict[str, tuple[str, int]] = {}
    for one in series:
        for at, stack in enumerate(one.stacks):
            name = f"{one}; volume {at}: {stack}" if len(one.stacks) > 1 else str(one)
            offered[name] = (one.uid, at)
    if len(offered) < 2 or _viewer() is None:
        return None, None
    return offered[_ask(f"{place.name} holds {len(offered)} volumes. Open which?", list(offered))]


def _choose_of_4d(place: Path) -> int | None:
    """Ask which volume of a 4D NIfTI file to open; None when there is one, or nobody to ask."""
    if _viewer() is None or suffix_of(place) not in (".nii", ".nii.gz"):
        return None
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        shape: tuple[int, ...] = getattr(nibabel.load(place), "shape", ())
    except (ImageFileError, OSError, EOFError, ValueError):
        return None  # reading it says what is wrong
    if len(shape) != 4 or shape[3] < 2:
        return None
    offered = [f"volume {at}" for at in range(shape[3])]
    return offered.index(_ask(f"{place.name} holds {shape[3]} volumes. Open which?", offered))


def _ask(question: str, offered: list[str]) -> str:
    """The user's choice. Raises FormatError when there is none, which ends the opening."""
    from qtpy.QtWidgets import QInputDialog

    choice, accepted = QInputDialog.getItem(None, "Open a scan", question, offered, 0, False)
    if not accepted:
        raise FormatError("no volume was chosen, so nothing was opened")
    return str(choice)


def _viewer() -> Any:
    """The viewer in front; None without napari's window. napari is not imported for this alone."""
    napari = sys.modules.get("napari")
    return napari.current_viewer() if napari is not None else None


def _tell(volume: Volume) -> None:
    if volume.notes and _viewer() is not None:
        from napari_medssl.widgets._notify import tell_notes

        tell_notes(volume.notes)


def _show_orientation() -> None:
    viewer = _viewer()
    if viewer is not None:
        from napari_medssl.widgets._orientation import show_orientation

        show_orientation(viewer)
