"""An index of the scans of a folder: made in pieces that are kept, and asked for the most similar ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.errors import FormatError, MedSSLError
from napari_medssl.progress import Progress, Steps, reporting
from napari_medssl.widgets._engine import EngineHandle
from napari_medssl.widgets._grid_file import is_grid_file

if TYPE_CHECKING:
    from napari_medssl.dense.settings import ExtractSettings
    from napari_medssl.explore.search import Match, ScanIndex
    from napari_medssl.train.dataset import Case
    from napari_medssl.widgets._features import Features

INDEX_NAME = "similar_scans.npz"


@dataclass(frozen=True, eq=False)
class Indexed:
    """An index with what came of making it. left_out: the scans that could not be read, each with the reason."""

    index: ScanIndex
    added: int
    left_out: tuple[str, ...]


def index_folder_steps(
    folder: Path, file: Path, handle: EngineHandle, *, weights: str, settings: ExtractSettings | None
) -> Steps[Indexed]:
    """Add the scans of a folder to the index in a file, which is written after each: a cancelled run goes on where it
    was. Scans in the index already are not read again; a scan that cannot be read is left out.

    Raises FormatError for a folder without scans or a file that cannot be written.
    """
    yield Progress(0, 0, "loading the model")
    from napari_medssl.explore.search import ScanIndex

    engine: Any = handle.get()
    cases = _scans_in(folder)
    index = ScanIndex.load(file) if file.is_file() else ScanIndex()
    known = {entry.name for entry in index.entries}
    added, left_out = 0, []
    for done, case in enumerate(cases):
        name = _name(case, folder)
        place = Progress(done, len(cases), "indexing", name)
        yield place
        if name in known:
            continue
        try:
            embedding = yield from _embed_steps(case, place, engine, weights, settings)
            fresh = index.add(embedding)
        except MedSSLError as error:
            left_out.append(f"{name}: {error}")
            continue
        if fresh:
            added += 1
            index.save(file)
    if not len(index):
        raise FormatError(f"no scan in {folder} could be read; the first: {left_out[0] if left_out else 'none'}")
    return Indexed(index, added, tuple(left_out))


def query_steps(file: Path, features: Features, count: int) -> Steps[list[Match]]:
    """The most similar scans of an index, best first."""
    yield Progress(0, 0, "comparing")
    from napari_medssl.explore.search import ScanIndex, embed_scan

    if not file.is_file():
        raise FormatError(f"there is no index {file} yet; choose the folder and press Index first")
    return ScanIndex.load(file).query(embed_scan(features.grid, features.body), count=count)


def _embed_steps(
    case: Case, place: Progress, engine: Any, weights: str, settings: ExtractSettings | None
) -> Steps[Any]:
    from napari_medssl.explore.body import body_cells
    from napari_medssl.explore.search import embed_scan
    from napari_medssl.io import read

    volume = read(case.image, series=case.series)
    steps = engine.grid_steps(volume, weights=weights, settings=settings)
    # One bar for the folder; what happens within a scan is told beside its name.
    grid = yield from reporting(
        steps, lambda p: Progress(place.done, place.total, place.label, f"{place.note}, {100 * p.fraction:.0f} %")
    )
    return embed_scan(grid, body_cells(grid, volume), name=place.note)


def _scans_in(folder: Path) -> list[Case]:
    from napari_medssl.train.dataset import cases_in

    found = cases_in([folder])
    return [case for case in found if case.image.name != INDEX_NAME and not is_grid_file(case.image)]


def _name(case: Case, folder: Path) -> str:
    """Path below the folder, so that the folder may move; with the series where a folder holds several."""
    place = case.image.relative_to(folder) if case.image.is_relative_to(folder) else case.image
    return f"{place.as_posix()}#{case.series}" if case.series else place.as_posix()


def path_of(name: str, folder: Path) -> Path:
    """Where a scan of an index lies."""
    return folder / name.split("#")[0]
