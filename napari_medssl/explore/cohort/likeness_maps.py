"""Products: what a point or region of one scan looks like to the encoder, and where that is in each scan."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medssl.errors import SettingsError
from napari_medssl.explore._npz import load_arrays, save_arrays
from napari_medssl.explore.body import body_cells
from napari_medssl.explore.cells import check_space
from napari_medssl.explore.cohort.case import Case
from napari_medssl.explore.cohort.extraction import Extraction, grid_facts
from napari_medssl.explore.cohort.settings import LikenessSettings
from napari_medssl.explore.onto import onto_volume_steps
from napari_medssl.explore.similarity import SimilarityIndex, similarity_index_steps
from napari_medssl.geometry import align_to
from napari_medssl.io import read, write
from napari_medssl.progress import Steps
from napari_medssl.settings import to_dict
from napari_medssl.volume import Volume

if TYPE_CHECKING:
    from napari_medssl.engine import Engine
    from napari_medssl.explore.cells import Floats

REFERENCE_FILE = "reference.npz"
_KIND = "reference of a similarity map"


@dataclass(frozen=True)
class Reference:
    """`reference.npz`: the unit vectors of points or of a region of one scan.

    points_mm: ((r, a, s), ...) RAS mm in the scan. region: absolute path of a label map on the scan's grid; label: its
    value, or None for all that is not 0. Points or a region, not both.
    """

    extraction: Extraction = field(default_factory=Extraction)
    settings: LikenessSettings = field(default_factory=LikenessSettings)
    points_mm: tuple[tuple[float, float, float], ...] = ()
    region: Path | None = None
    label: int | None = None

    def files(self, case: Case) -> tuple[str, ...]:
        """One file, whatever the scan is called."""
        return (REFERENCE_FILE,)

    def depends_on(self, case: Case, engine: Engine) -> dict[str, Any]:
        """Weights, settings, and the points or the region's content."""
        region = None if self.region is None else read(self.region, labels=True).content_hash
        facts = {"what": "reference", **self.extraction.depends_on(engine), "options": to_dict(self.settings)}
        return {**facts, "point or region": [list(self.points_mm), region, self.label]}

    def make_steps(self, case: Case, volume: Volume, engine: Engine, folder: Path) -> Steps[dict[str, Any]]:
        """Extract and look up."""
        if bool(self.points_mm) == (self.region is not None):
            raise SettingsError("likeness to what? give either points or a region")
        grid = yield from self.extraction.scratch_steps(volume, engine, folder)
        index = yield from _index_steps(grid, volume, self.settings)
        units = index.at(self.points_mm) if self.region is None else self._region(index, volume)
        save_arrays(folder / REFERENCE_FILE, _KIND, {"units": units}, {"space": index.space})
        return grid_facts(grid)

    def _region(self, index: SimilarityIndex, volume: Volume) -> Floats:
        assert self.region is not None
        mask = align_to(read(self.region, labels=True), volume)
        if self.label is not None and not (mask.data == self.label).any():
            values = ", ".join(str(v) for v in np.unique(mask.data) if v) or "none"
            raise SettingsError(f"{self.region} has no label {self.label}; it has {values}")
        return index.of_region(mask, self.label)


@dataclass(frozen=True)
class LikenessMaps:
    """`NAME.similarity.nii.gz`: the cosine, -1 to 1, of every voxel with the reference.

    reference: absolute path of the file of `Reference`. sha256: of that file.
    """

    reference: Path
    sha256: str
    extraction: Extraction = field(default_factory=Extraction)
    settings: LikenessSettings = field(default_factory=LikenessSettings)
    ending: str = ".nii.gz"

    def files(self, case: Case) -> tuple[str, ...]:
        """The map."""
        return (f"{case.name}.similarity{self.ending}",)

    def depends_on(self, case: Case, engine: Engine) -> dict[str, Any]:
        """Weights, settings and the file of the reference."""
        facts = {"what": "similarity", **self.extraction.depends_on(engine), "reference": self.sha256}
        return {**facts, "options": to_dict(self.settings)}

    def make_steps(self, case: Case, volume: Volume, engine: Engine, folder: Path) -> Steps[dict[str, Any]]:
        """Extract, compare, place on the scan."""
        arrays, card = load_arrays(self.reference, _KIND, ("units",))
        grid = yield from self.extraction.scratch_steps(volume, engine, folder)
        check_space(grid, str(card["space"]), "the reference is")
        index = yield from _index_steps(grid, volume, self.settings)
        found = index.map(np.asarray(arrays["units"], np.float32), combine=self.settings.combine)
        (name,) = self.files(case)
        write(folder / name, volume.like((yield from onto_volume_steps(found, grid, volume))))
        best = np.unravel_index(int(found.argmax()), found.shape)
        place = grid.affine[:3, :3] @ np.array(best) + grid.affine[:3, 3]
        shown = ", ".join(f"{v:.1f}" for v in place)
        summary = f"most alike ({found.max():.3f}) at {shown} mm"
        return {**grid_facts(grid), "most_alike": float(found.max()), "most_alike_mm": place, "summary": summary}


def _index_steps(grid: Any, volume: Volume, settings: LikenessSettings) -> Steps[SimilarityIndex]:
    """Nothing is kept in memory: each grid is asked once."""
    mask = body_cells(grid, volume) if settings.centring and settings.body else None
    return similarity_index_steps(grid, mask, centring=settings.centring, kept_bytes=0)
