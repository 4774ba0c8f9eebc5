"""The whole evaluation of a folder of scans: load, ask, compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from napari_medssl.engine.device import DevicePolicy
from napari_medssl.errors import FormatError
from napari_medssl.evaluate.candidate import Candidate
from napari_medssl.evaluate.compare import CompareSettings, Row, compare_steps
from napari_medssl.evaluate.data import load_for
from napari_medssl.evaluate.dense import dense_steps
from napari_medssl.evaluate.examples import Examples
from napari_medssl.evaluate.exams import exams
from napari_medssl.evaluate.presence import position, presence
from napari_medssl.evaluate.protocols import ProtocolName
from napari_medssl.pretext.scan import Scan
from napari_medssl.progress import Steps
from napari_medssl.settings import setting
from napari_medssl.train.dataset import Case, collect_cases

Task: TypeAlias = Literal["presence", "position", "exams", "dense"]


@dataclass(frozen=True)
class EvaluateSettings:
    """What is asked, of what input, and how it is compared."""

    size: int = setting(0, "Side of the slices given to the encoders; 0: what each names.", ge=0, le=1024)
    spacing_mm: float = setting(3.0, "Voxels for volume encoders.", ge=0.1, le=20)
    thickness: int = setting(16, "Slices of the slab around a slice, for volume encoders.", ge=1, le=256)
    slices_per_scan: int = setting(32, "Slices of each scan, at even distances (dense: a quarter of it).", ge=1)
    compare: CompareSettings = field(default_factory=CompareSettings)


def cases_of(folder: Path, *, only: Sequence[str] = (), labelled: bool = False) -> list[Case]:
    """The scans of a folder whose file names begin with one of `only` (all when empty).

    labelled: only those with a label map. Raises FormatError when none is left.
    """
    found = [c for c in collect_cases([folder]) if not only or c.image.name.startswith(tuple(only))]
    kept = [c for c in found if c.labels is not None or not labelled]
    if not kept:
        wanted = f"labelled scan called {' or '.join(only)}..." if only else "labelled scan"
        raise FormatError(
            f"no {wanted if labelled else wanted.removeprefix('labelled ')} in {folder}; "
            "label maps lie in labels/ beside images/, under the same names"
        )
    return kept


def evaluate_steps(
    candidates: Sequence[Candidate],
    folder: Path,
    task: Task,
    protocols: Sequence[ProtocolName],
    settings: EvaluateSettings,
    *,
    policy: DevicePolicy,
    only: Sequence[str] = (),
    table: Path | None = None,
    column: str = "group",
) -> Steps[list[Row]]:
    """Rows of every candidate on the scans of `folder`.

    task: "presence" (organs of a slice), "dense" (organs of feature cells), "position" (of a slice, no labels needed),
    "exams" (group of a scan, from `table`, a CSV file with `file`, perhaps `subject`, and `column`).
    only: beginnings of file names.

    Candidates of one input are compared on scans that are loaded once for them. Raises FormatError when the folder does
    not hold what the task needs, SettingsError when settings do not fit it.
    """
    cases = cases_of(folder, only=only, labelled=task in ("presence", "dense"))
    rows: list[Row] = []
    for inputs in dict.fromkeys((c.dims, c.size) for c in candidates):
        mine = [c for c in candidates if (c.dims, c.size) == inputs]
        scans = yield from load_for(mine[0], cases, spacing_mm=settings.spacing_mm)
        if task == "dense":
            count = max(1, settings.slices_per_scan // 4)
            rows += yield from dense_steps(
                mine, scans, protocols, settings.compare, policy=policy, data=folder.name, slices_per_scan=count
            )
            continue
        examples = _ask(task, table, column, settings.slices_per_scan)(scans)
        rows += yield from compare_steps(
            mine, scans, examples, protocols, settings.compare, policy=policy, data=folder.name
        )
    return rows


def _ask(task: Task, table: Path | None, column: str, slices: int) -> Callable[[Sequence[Scan]], Examples]:
    if task == "presence":
        return lambda scans: presence(scans, slices_per_scan=slices)
    if task == "position":
        return lambda scans: position(scans, slices_per_scan=slices)
    if table is None:
        raise FormatError("the task exams needs a table of the exams' groups: a CSV file with columns file and group")
    return lambda scans: exams(scans, table, column=column, slices_per_scan=slices)
