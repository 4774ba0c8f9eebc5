"""The report beside a result: a JSON file that says what was done to what, with which versions."""

from __future__ import annotations

import json
import math
import platform
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import napari_medssl
from napari_medssl.io.atomic import replacing
from napari_medssl.io.formats import stem_of

_LIBRARIES = ("numpy", "scipy", "scikit-image", "torch", "monai", "nibabel", "pydicom", "SimpleITK")


def report_path(output: Path) -> Path:
    """Where the report of an output lies: `liver.nii.gz` has `liver.report.json`."""
    return output.with_name(f"{stem_of(output)}.report.json")


def environment() -> dict[str, Any]:
    """Versions of the package, Python and the libraries that compute, and the kind of machine; imports none of them."""
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "napari_medssl": napari_medssl.__version__,
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        "libraries": versions,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def write_report(path: Path, facts: Mapping[str, Any]) -> None:
    """Write `facts` as JSON, whole or not at all.

    NumPy numbers and arrays, tuples and paths become plain JSON; values JSON has no word for (NaN, infinity) become
    null. Raises FormatError when it cannot be written, TypeError for a value that is no data.
    """
    text = json.dumps(plain(facts), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with replacing(path) as (temp,):
        temp.write_text(text, encoding="utf-8")


def plain(value: Any) -> Any:
    """`value` in the types of JSON, containers included."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, (str, int, bool)):
        return value
    raise TypeError(f"a report cannot hold a {type(value).__name__}")
