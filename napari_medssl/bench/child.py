"""The process whose memory is measured: `python -m napari_medssl.bench.child FOLDER make|measure TASK`.

TASK is JSON with shape (Z, Y, X), organ, device, weights and method. "make" writes the scan into FOLDER; "measure"
segments it and writes FOLDER/facts.json with bytes and seconds.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def main(folder: Path, part: str, task: dict[str, Any]) -> None:
    """One part of the work."""
    if part == "make":
        _make(folder, task)
    else:
        (folder / "facts.json").write_text(json.dumps(_measure(folder, task)))


def _make(folder: Path, task: dict[str, Any]) -> None:
    from napari_medssl.bench.segmenting import labelled_slices
    from napari_medssl.samples.phantom import phantom

    scan, truth = phantom("CT", shape=tuple(task["shape"]))
    np.save(folder / "scan.npy", scan.data)
    np.save(folder / "mask.npy", labelled_slices(scan, truth, task["organ"], 1).mask)
    np.save(folder / "affine.npy", scan.affine)


def _measure(folder: Path, task: dict[str, Any]) -> dict[str, Any]:
    from napari_medssl.engine import Engine
    from napari_medssl.oneshot import SegmentSettings, Support
    from napari_medssl.volume import Volume

    scan = Volume(np.load(folder / "scan.npy"), np.load(folder / "affine.npy"), "CT")
    support = Support(scan, np.load(folder / "mask.npy"))
    settings = SegmentSettings(method=task["method"])
    _import_what_runs(settings)
    baseline = resident_bytes()
    reset_peak()
    start = time.perf_counter()
    engine = Engine(device=task["device"], weights=task["weights"])
    engine.segment(scan, [support], settings=settings)
    return {
        "baseline": baseline,
        "peak": peak_bytes(),
        "model": engine.models.nbytes,
        "features": engine.cache.statistics.nbytes,
        "budget": engine.cache.budget_bytes,
        "voxels": scan.data.size,
        "seconds": time.perf_counter() - start,
    }


def _import_what_runs(settings: Any) -> None:
    """Load every library the run will use by segmenting a scan of a few voxels: libraries are no working memory."""
    from napari_medssl.engine import Engine
    from napari_medssl.oneshot import Support
    from napari_medssl.samples.phantom import phantom

    scan, truth = phantom("CT", shape=(3, 32, 32))
    mask = np.zeros(truth.shape, np.uint8)
    mask[1] = truth.data[1] == 1
    with Engine(device="cpu", weights="none") as engine:
        method = "prototypes" if settings.method == "prototypes" else "auto"
        engine.segment(scan, [Support(scan, mask)], settings=type(settings)(method=method))


def resident_bytes() -> int:
    """Memory of this process now; where the system does not say, the most it ever had."""
    statm = Path("/proc/self/statm")
    if statm.is_file():
        import resource

        return int(statm.read_text().split()[1]) * resource.getpagesize()
    return peak_bytes()


def reset_peak() -> None:
    """Let the peak begin anew at the present use, where the system can (Linux); elsewhere the old peak stays."""
    switch = Path("/proc/self/clear_refs")
    if switch.exists():
        switch.write_text("5")


def peak_bytes() -> int:
    """The most memory this process had since `reset_peak`."""
    status = Path("/proc/self/status")
    if status.is_file():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024
    if sys.platform == "win32":
        raise SystemExit("peak memory is not known on Windows")
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]))
