"""Peak memory of a segmentation, measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from napari_medssl.bench.goals import FLOAT_COPIES, LARGE_BYTES, Measurement
from napari_medssl.engine.memory import MIB
from napari_medssl.errors import MedSSLError
from napari_medssl.progress import Progress, Steps

LARGE_SHAPE = (400, 512, 512)
_POLL_S = 0.2


class BenchError(MedSSLError):
    """A measurement could not be taken."""


def memory_steps(*, n_slices: int, organ: str, device: str, weights: str) -> Steps[list[Measurement]]:
    """Peak of one segmentation above what Python and the libraries need, over the memory the goal allows.

    The goal is model + three float32 copies of the scan + the feature budget. Measured with the prototype method,
    which encodes every slice, and with the default one.
    """
    rows = []
    for method in ("prototypes", "auto"):
        facts = yield from _child_steps(
            (n_slices, 256, 256), organ=organ, device=device, weights=weights, method=method, label="memory"
        )
        allowed = facts["model"] + FLOAT_COPIES * 4 * facts["voxels"] + facts["budget"]
        own = facts["peak"] - facts["baseline"]
        detail = (
            f"{own / MIB:.0f} of {allowed / MIB:.0f} MiB; model {facts['model'] / MIB:.1f}, "
            f"features {facts['features'] / MIB:.0f} of a budget of {facts['budget'] / MIB:.0f} MiB"
        )
        what = f"peak memory / (model + {FLOAT_COPIES} float32 scans + feature budget), {method}"
        rows.append(Measurement(what, own / allowed, "", 1.0, detail=detail))
    return rows


def large_steps(*, organ: str, device: str, weights: str) -> Steps[Measurement]:
    """Whole peak memory of segmenting a CT of 400 slices of 512 x 512 voxels, everything included."""
    facts = yield from _child_steps(
        LARGE_SHAPE, organ=organ, device=device, weights=weights, method="auto", label="a CT of 512 x 512 x 400"
    )
    detail = f"{facts['seconds']:.0f} s"
    return Measurement(
        "peak memory, CT of 512 x 512 x 400", facts["peak"] / 2**30, "GiB", LARGE_BYTES / 2**30, detail=detail
    )


def _child_steps(
    shape: tuple[int, int, int], *, organ: str, device: str, weights: str, method: str, label: str
) -> Steps[dict[str, Any]]:
    """Facts of the child process; ended when the caller stops asking."""
    with tempfile.TemporaryDirectory() as folder:
        task = {"shape": shape, "organ": organ, "device": device, "weights": weights, "method": method}
        command = [sys.executable, "-m", "napari_medssl.bench.child", folder]
        for part in ("make", "measure"):  # the scan is made in another process, so that its memory does not count
            name = "making the scan" if part == "make" else "segmenting it"
            yield from run_steps([*command, part, json.dumps(task)], f"{label}: {name}")
        facts: dict[str, Any] = json.loads((Path(folder) / "facts.json").read_text())
        return facts


def run_steps(command: list[str], label: str) -> Steps[None]:
    """A command in a process of its own, ended when the caller stops asking. Raises BenchError when it fails."""
    with tempfile.TemporaryFile("w+") as errors, subprocess.Popen(command, stderr=errors) as child:
        try:
            while True:
                try:
                    code = child.wait(timeout=_POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    yield Progress(0, 0, label)
        finally:
            child.kill()  # does nothing when it has ended
        if code < 0:
            raise BenchError(
                f"memory could not be measured: the process was ended by signal {-code}, as the system does when "
                "memory runs out"
            )
        if code:
            errors.seek(0)
            lines = errors.read().strip().splitlines() or [f"it ended with code {code}"]
            raise BenchError(f"memory could not be measured: {lines[-1]}")
