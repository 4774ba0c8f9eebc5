"""Product: the feature grid of each scan."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.explore.cohort.case import Case
from napari_medssl.explore.cohort.extraction import Extraction, grid_facts
from napari_medssl.progress import Steps
from napari_medssl.volume import Volume

if TYPE_CHECKING:
    from napari_medssl.engine import Engine


@dataclass(frozen=True)
class Grids:
    """`NAME.zarr` (chunks, written as rows are finished) or `NAME.npz`, as `dense.files.load_grid` opens them."""

    extraction: Extraction = field(default_factory=Extraction)
    ending: str = ".zarr"

    def files(self, case: Case) -> tuple[str, ...]:
        """The grid."""
        return (f"{case.name}{self.ending}",)

    def depends_on(self, case: Case, engine: Engine) -> dict[str, Any]:
        """Weights and settings."""
        return {"what": "grid", **self.extraction.depends_on(engine)}

    def make_steps(self, case: Case, volume: Volume, engine: Engine, folder: Path) -> Steps[dict[str, Any]]:
        """Extract into the file."""
        (name,) = self.files(case)
        grid = yield from self.extraction.grid_steps(volume, engine, folder / name)
        return grid_facts(grid)
