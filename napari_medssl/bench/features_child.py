"""The process whose memory is measured: `python -m napari_medssl.bench.features_child FOLDER make|measure TASK`.

TASK is JSON with shape and spacing (Z, Y, X), device, weights and settings. "make" writes the scan into FOLDER as a
NIfTI; "measure" reads it, writes its features beside it as a Zarr, and FOLDER/facts.json with bytes and
seconds.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def main(folder: Path, part: str, task: dict[str, Any]) -> None:
    """One part of the work."""
    if part == "make":
        _make(folder, task)
    else:
        (folder / "facts.json").write_text(json.dumps(_measure(folder, task)))


def _make(folder: Path, task: dict[str, Any]) -> None:
    from napari_medssl.bench.features import scan_of
    from napari_medssl.io import write

    write(folder / "scan.nii", scan_of(task["shape"], task["spacing"]))


def _measure(folder: Path, task: dict[str, Any]) -> dict[str, Any]:
    from napari_medssl.bench.child import peak_bytes, reset_peak
    from napari_medssl.dense.settings import ExtractSettings
    from napari_medssl.engine import Engine
    from napari_medssl.io import read
    from napari_medssl.settings import from_dict

    reset_peak()
    start, busy = time.perf_counter(), time.process_time()
    settings = from_dict(ExtractSettings, task["settings"])
    with Engine(device=task["device"], weights="none") as engine:
        grid = engine.grid(
            read(folder / "scan.nii"), weights=task["weights"], settings=settings, out=folder / "features.zarr"
        )
    windows = grid.encoder["windows"]
    return {
        "peak": peak_bytes(),
        "seconds": time.perf_counter() - start,
        "processor_seconds": time.process_time() - busy,
        "bytes": grid.nbytes,
        "grid": " x ".join(map(str, grid.data.shape)),
        "windows": f"{windows['count']} windows of {' x '.join(map(str, windows['size']))} voxels",
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
