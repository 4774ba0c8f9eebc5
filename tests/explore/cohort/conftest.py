"""A small cohort on disk, and a product that is quick to make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_medssl import Volume, write
from napari_medssl.engine import Engine
from napari_medssl.errors import VolumeError
from napari_medssl.explore.cohort.case import Case, cases_from
from napari_medssl.explore.cohort.work import Job
from napari_medssl.progress import Progress, Steps


@dataclass(frozen=True)
class MeanProduct:
    """The mean of a scan in a text file; `factor` is its setting, a mean above 200 its idea of a scan it cannot use."""

    factor: float = 1.0

    def files(self, case: Case) -> tuple[str, ...]:
        return (f"{case.name}.mean.txt",)

    def depends_on(self, case: Case, engine: Engine) -> dict[str, Any]:
        return {"settings": {"factor": self.factor}}

    def make_steps(self, case: Case, volume: Volume, engine: Engine, folder: Path) -> Steps[dict[str, Any]]:
        yield Progress(0, 2, "measuring")
        mean = float(volume.data.mean()) * self.factor
        if mean > 200:
            raise VolumeError(f"{case.scan.name} is too bright ({mean:.0f}); use another scan")
        (folder / f"{case.name}.mean.txt").write_text(f"{mean:.2f}\n")
        yield Progress(1, 2, "measuring")
        return {"mean": mean, "notes": ["rounded"]}


def save_scan(path: Path, level: float) -> Path:
    """A tiny scan of one level."""
    data = np.full((4, 8, 8), level, np.float32)
    data[0, 0, 0] += 1
    write(path, Volume(data, np.eye(4)))
    return path


@pytest.fixture
def cohort(tmp_path: Path) -> tuple[Case, ...]:
    """Four scans: two good ones, one too bright, one that is no scan."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for name, level in (("a", 10.0), ("b", 20.0), ("bright", 300.0)):
        save_scan(folder / f"{name}.nii.gz", level)
    (folder / "broken.nii.gz").write_bytes(b"not a scan at all")
    return cases_from([folder])


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., Job]:
    """A job that writes into `out`; staging is made as a run makes it."""
    out, unfinished = tmp_path / "out", tmp_path / "out" / ".unfinished"
    unfinished.mkdir(parents=True)

    def made(product: Any = None, **more: Any) -> Job:
        return Job(product or MeanProduct(), out, unfinished, device="cpu", weights="none", **more)

    return made
