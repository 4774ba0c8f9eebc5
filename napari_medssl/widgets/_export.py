"""Writing a result: on the scan's own grid, whole or not at all, with its report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QFileDialog, QWidget

from napari_medssl.progress import Progress, Steps
from napari_medssl.volume import Volume

FILTERS = {
    "NIfTI (*.nii.gz)": ".nii.gz",
    "3D Slicer segmentation (*.seg.nrrd)": ".seg.nrrd",
    "NumPy archive (*.npz)": ".npz",
    "NIfTI, uncompressed (*.nii)": ".nii",
    "NRRD (*.nrrd)": ".nrrd",
    "MetaImage (*.mha)": ".mha",
}


def ask_path(parent: QWidget, suggested: str) -> Path | None:
    """Ask where to save; None when the user changed their mind."""
    text, chosen = QFileDialog.getSaveFileName(parent, "Export labels", suggested, ";;".join(FILTERS))
    return with_ending(Path(text), FILTERS.get(chosen, ".nii.gz")) if text else None


def with_ending(path: Path, ending: str) -> Path:
    """The path, with `ending` added when it has none of ours (some systems do not add it themselves)."""
    known = tuple(FILTERS.values())
    return path if path.name.lower().endswith(known) else path.with_name(path.name + ending)


def export_steps(path: Path, volume: Volume, report: Mapping[str, Any]) -> Steps[Path]:
    """Write labels and, beside them, the report; both atomically. Returns the path."""
    from napari_medssl.io import write_segmentation
    from napari_medssl.io.atomic import replacing

    yield Progress(0, 0, f"Writing {path.name}")
    write_segmentation(path, volume)
    if report:
        with replacing(report_path(path)) as (temp,):
            temp.write_text(json.dumps(report, indent=2, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
    return path


def report_path(path: Path) -> Path:
    """`liver.nii.gz` has the report `liver.report.json`."""
    from napari_medssl.io.formats import stem_of

    return path.with_name(f"{stem_of(path)}.report.json")
