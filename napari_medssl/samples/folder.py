"""Where samples may lie on this computer, and labelled scans in a folder with `images/` and `labels/`."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_medssl.errors import FormatError
from napari_medssl.geometry import align_to
from napari_medssl.io import read
from napari_medssl.labels import default_label
from napari_medssl.volume import Volume

DATA_VARIABLE = "NAPARI_MEDSSL_DATA"
"""Environment variable naming a folder with samples; looked at before anything is downloaded."""

# Label values of public challenges, by the name of the folder that holds them.
ORGAN_NAMES: dict[str, tuple[str, ...]] = {
    "chaos_t2": ("liver", "right kidney", "left kidney", "spleen"),
    "btcv_ct": (
        "spleen", "right kidney", "left kidney", "gallbladder", "oesophagus", "liver", "stomach", "aorta",
        "inferior vena cava", "portal and splenic vein", "pancreas", "right adrenal gland", "left adrenal gland",
    ),
    "sunnybrook": ("left ventricle",),
    "hippocampus": ("anterior hippocampus", "posterior hippocampus"),
}  # fmt: skip

_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd", ".npz")


@dataclass(frozen=True)
class LabelledFile:
    """A scan and its label map on disk."""

    image: Path
    labels: Path


def data_folder() -> Path | None:
    """The folder samples are looked for in, or None.

    First the folder named by NAPARI_MEDSSL_DATA. Otherwise, in a checkout of the source only, `shared/data` beside the
    checkout, where developers keep real scans; an installed package never looks there.

    Raises FormatError when the variable names something that is no folder.
    """
    named = os.environ.get(DATA_VARIABLE)
    if named:
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise FormatError(f"{DATA_VARIABLE} names {folder}, which is no folder; correct it or unset it")
        return folder
    checkout = Path(__file__).resolve().parents[2]
    beside = checkout.parent / "shared" / "data"
    return beside if (checkout / "pyproject.toml").is_file() and beside.is_dir() else None


def labelled_files(folder: Path) -> tuple[LabelledFile, ...]:
    """Every file of `folder/images` that has one of the same name in `folder/labels`, by name.

    Raises FormatError when there is none.
    """
    images = folder / "images"
    found = [p for p in sorted(images.iterdir()) if p.name.endswith(_SUFFIXES)] if images.is_dir() else []
    pairs = tuple(LabelledFile(p, folder / "labels" / p.name) for p in found if (folder / "labels" / p.name).is_file())
    if not pairs:
        raise FormatError(
            f"{folder} holds no labelled scans; put scans in images/ and label maps of the same names in labels/"
        )
    return pairs


def load_labelled(files: LabelledFile) -> tuple[Volume, Volume]:
    """Scan and label map, with organ names where the files or the folder's name tell them.

    Raises GeometryError when the two lie on different grids, and what `napari_medssl.read` raises.
    """
    image = read(files.image)
    labels = align_to(read(files.labels, labels=True), image)
    return image, with_names(labels, ORGAN_NAMES.get(files.image.parents[1].name, ()))


def with_names(labels: Volume, names: tuple[str, ...]) -> Volume:
    """A label map with names for the values 1, 2, ... it has; a name of its own, if not the reader's default, wins."""
    own = {label.value: label for label in labels.labels if label != default_label(label.value)}
    rows = []
    for value in (int(v) for v in np.unique(labels.data) if v):
        plain = default_label(value)
        named = dataclasses.replace(plain, name=names[value - 1]) if value <= len(names) else plain
        rows.append(own.get(value, named))
    return dataclasses.replace(labels, labels=tuple(rows))
