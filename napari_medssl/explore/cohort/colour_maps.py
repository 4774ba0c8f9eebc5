"""Products: colours fitted on one scan, and the scans of a cohort in these colours."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_medssl.explore.body import body_cells
from napari_medssl.explore.cohort.case import Case
from napari_medssl.explore.cohort.extraction import Extraction, grid_facts
from napari_medssl.explore.cohort.settings import ColourSettings
from napari_medssl.explore.colours import FeatureColours, fit_colours_steps, load_colours
from napari_medssl.explore.onto import onto_volume_steps
from napari_medssl.io import write
from napari_medssl.io.colour import write_colours
from napari_medssl.progress import Steps
from napari_medssl.settings import to_dict
from napari_medssl.volume import Volume

if TYPE_CHECKING:
    from napari_medssl.dense.grid import FeatureGrid
    from napari_medssl.engine import Engine
    from napari_medssl.explore.cells import Floats

COLOURS_FILE = "colours.npz"


@dataclass(frozen=True)
class ColourFit:
    """`colours.npz`: colours fitted on one scan, to be used on all others."""

    extraction: Extraction = field(default_factory=Extraction)
    settings: ColourSettings = field(default_factory=ColourSettings)

    def files(self, case: Case) -> tuple[str, ...]:
        """One file, whatever the scan is called."""
        return (COLOURS_FILE,)

    def depends_on(self, case: Case, engine: Engine) -> dict[str, Any]:
        """Weights and settings, but no scan: a cohort that grows keeps the colours it has."""
        facts = {"what": "colours", **self.extraction.depends_on(engine), "options": to_dict(self.settings)}
        return {"scan": "any", **facts}

    def make_steps(self, case: Case, volume: Volume, engine: Engine, folder: Path) -> Steps[dict[str, Any]]:
        """Extract, fit, save."""
        s = self.settings
        grid = yield from self.extraction.scratch_steps(volume, engine, folder)
        mask = body_cells(grid, volume) if s.body else None
        colours = yield from fit_colours_steps(grid, mask, components=s.components, percentiles=(s.low, s.high))
        colours.save(folder / COLOURS_FILE)
        return {**grid_facts(grid), "shares_of_variance": colours.shares}


@dataclass(frozen=True)
class ColourMaps:
    """`NAME.colours.nii.gz`: red, green and blue for every voxel; with `separate` also `NAME.component-1.nii.gz`, ...

    colours: absolute path of the fit. sha256: of that file. components: how many maps, when they are wanted.
    """

    colours: Path
    sha256: str
    extraction: Extraction = field(default_factory=Extraction)
    ending: str = ".nii.gz"
    body: bool = True
    components: int = 0

    def files(self, case: Case) -> tuple[str, ...]:
        """The colours, then the components."""
        maps = (f"{case.name}.component-{n + 1}{self.ending}" for n in range(self.components))
        return (f"{case.name}.colours{self.ending}", *maps)

    def depends_on(self, case: Case, engine: Engine) -> dict[str, Any]:
        """Weights, settings and the file of the colours."""
        facts = {"what": "pca", **self.extraction.depends_on(engine), "colours": self.sha256}
        return {**facts, "options": {"body": self.body}}

    def make_steps(self, case: Case, volume: Volume, engine: Engine, folder: Path) -> Steps[dict[str, Any]]:
        """Extract, project, place on the scan, channel by channel."""
        colours = load_colours(self.colours)
        grid = yield from self.extraction.scratch_steps(volume, engine, folder)
        found = yield from colours.components_steps(grid)
        painted, *maps = (folder / name for name in self.files(case))
        rgb = yield from _rgb_steps(colours, found, grid, volume, body=self.body)
        write_colours(painted, volume, rgb)
        for number, path in enumerate(maps):
            write(path, volume.like((yield from onto_volume_steps(found[..., number], grid, volume))))
        return {**grid_facts(grid), "shares_of_variance": colours.shares}


def _rgb_steps(
    colours: FeatureColours, found: Floats, grid: FeatureGrid, volume: Volume, *, body: bool
) -> Steps[npt.NDArray[np.uint8]]:
    """(Z, Y, X, 3) uint8 on the scan's voxels; a channel at a time, as a large CT in float32 is half a GiB for each."""
    field = colours.painted(found)
    if body:
        field[~body_cells(grid, volume)] = 0.0
    rgb = np.empty((*volume.shape, 3), np.uint8)
    for channel in range(3):
        values = yield from onto_volume_steps(field[..., channel], grid, volume)
        for plane, out in zip(values, rgb, strict=True):
            out[..., channel] = np.rint(plane * 255)
    return rgb
