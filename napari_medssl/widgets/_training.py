"""What the pretraining form asks for, as work for the trainer. No Qt."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.errors import SettingsError
from napari_medssl.guidance import advise
from napari_medssl.progress import Progress, Steps, reporting
from napari_medssl.settings import to_dict
from napari_medssl.widgets._scan import Scan

if TYPE_CHECKING:
    from napari_medssl.train.method import Method

OPEN_SCANS = "open scans"
"""The data set that layers of the viewer belong to."""

# Between two reports. A step may take milliseconds, and each report repaints the window, which takes the processor from
# the training where there is no graphics card. Stop is heard at reports.
_REPORT_S = 0.4


@dataclass(frozen=True)
class Remarked(Progress):
    """Progress with what the person must hear of, such as scans that were left out."""

    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Learned(Progress):
    """Progress of the training with what was logged since the last report: steps and their values."""

    points: tuple[tuple[int, dict[str, float]], ...] = ()


@dataclass(frozen=True)
class TrainingRequest:
    """One run: method and settings, scans that are open and folders of more, where it goes.

    advice: what the documents' rules say of the settings.
    """

    method: Method
    settings: Any
    open_scans: tuple[Scan, ...]
    folders: tuple[Path, ...]
    out: Path
    device: str
    advice: tuple[str, ...] = ()

    def steps(self) -> Steps[Path]:
        """Read, train and save; gives the weights file. Loads torch: for a worker."""
        from napari_medssl.engine.device import choose_device
        from napari_medssl.io.folders import make_folder
        from napari_medssl.train.dataset import cases_in
        from napari_medssl.train.grid import grid_of
        from napari_medssl.train.notes import collected_notes
        from napari_medssl.train.store import load_scans, prepare_volume
        from napari_medssl.train.trainer import train_on

        device = choose_device(self.device)
        grid = grid_of(self.settings)
        make_folder(self.out)
        scans = []
        for i, scan in enumerate(self.open_scans):
            yield Progress(i, len(self.open_scans), f"preparing {scan.name}")
            scans.append(prepare_volume(scan.volume(), grid, name=scan.name, group=OPEN_SCANS))
        if self.folders:
            cases = cases_in(self.folders)
            bad_files = self.settings.run.bad_files
            with collected_notes() as notes:
                scans += yield from load_scans(cases, grid, cache=self.out / "scans", bad_files=bad_files)
            if notes:
                yield Remarked(1, 1, "reading", remarks=tuple(notes))
        return (yield from _now_and_then(train_on(scans, self.out, self.method, self.settings, device=device)))


def _now_and_then(steps: Steps[Path]) -> Steps[Path]:
    """The same work with one report in a while, which holds all values since the one before."""
    said = 0.0
    points: list[tuple[int, dict[str, float]]] = []

    def see(progress: Progress) -> Learned | None:
        nonlocal said, points
        if values := getattr(progress, "values", None):
            points.append((progress.done, values))
        if time.monotonic() - said <= _REPORT_S and progress.done != progress.total:
            return None
        told, points = tuple(points), []
        said = time.monotonic()
        return Learned(progress.done, progress.total, progress.label, progress.note, told)

    return reporting(steps, see)


def training_request(
    method: Method | None,
    settings: Any,
    open_scans: Sequence[Scan],
    folders: Sequence[Path],
    out: str,
    device: str,
) -> TrainingRequest:
    """The request, or a SettingsError that says what is still missing."""
    if method is None:
        raise SettingsError("the methods are still being loaded; wait a moment")
    if not open_scans and not folders:
        raise SettingsError("there is nothing to learn from: open scans, or add a folder of scans")
    if not out.strip():
        raise SettingsError("choose a folder for the run; weights, curves and the state to go on from are kept there")
    if method.labels and not folders:
        raise SettingsError(f"{method.name} learns from labels: add a folder with images/ and labels/")
    advice = advise(method.name, to_dict(settings))
    return TrainingRequest(method, settings, tuple(open_scans), tuple(folders), Path(out).expanduser(), device, advice)
