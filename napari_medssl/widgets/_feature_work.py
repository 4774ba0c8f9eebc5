"""What exploring does away from the window: extracting, saving, opening, and everything made from a grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medssl.errors import GeometryError
from napari_medssl.progress import Progress, Steps
from napari_medssl.widgets._engine import EngineHandle
from napari_medssl.widgets._features import Features
from napari_medssl.widgets._scan import Scan

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_medssl.dense.grid import FeatureGrid
    from napari_medssl.dense.settings import ExtractSettings
    from napari_medssl.explore.colours import FeatureColours
    from napari_medssl.explore.similarity import SimilarityIndex
    from napari_medssl.volume import Affine, Volume

COMPONENTS = 8
"""Principal components that are offered: what comes after the first few is noise of single scans."""

_INDEX, _COLOURS, _COMPONENTS = "index", "colours", "components"


def load_settings_steps() -> Steps[ExtractSettings]:
    """The settings of extraction, whose modules may bring torch."""
    yield Progress(0, 0, "loading")
    from napari_medssl.dense.settings import ExtractSettings

    return ExtractSettings()


@dataclass(frozen=True, eq=False)
class ExtractRequest:
    """Features of one scan. image: its layer, only to be handed back. weights: a name or the path of a file."""

    image: Image
    scan: Scan
    weights: str
    settings: ExtractSettings | None

    def steps(self, handle: EngineHandle) -> Steps[Features]:
        """The whole work; what was extracted before comes from the engine's cache."""
        yield Progress(0, 0, "loading the model")
        engine: Any = handle.get()
        volume = self.scan.volume()
        grid = yield from engine.grid_steps(volume, weights=self.weights, settings=self.settings)
        return (yield from features_steps(self.image, self.scan.data, volume, grid))


def features_steps(image: Image, data: Any, volume: Volume, grid: FeatureGrid) -> Steps[Features]:
    """A grid made ready for questions: the patient's cells and the index of likeness."""
    from skimage.filters import threshold_otsu  # noqa: F401  # seconds to import, which the first click would wait for

    from napari_medssl.explore.body import body_cells

    yield Progress(0, 0, "finding the body")
    notes = (*volume.notes, *_notes(grid))
    features = Features(image, data, volume, grid, body_cells(grid, volume), notes)
    yield from index_steps(features)
    return features


def open_steps(path: Path, image: Image, scan: Scan) -> Steps[Features]:
    """Features of a file for the scan of a layer. Raises GeometryError when they are of another scan."""
    yield Progress(0, 0, f"opening {path.name}")
    from napari_medssl.dense.files import load_grid

    return (yield from adopt_steps(load_grid(path), image, scan, path.name))


def adopt_steps(grid: FeatureGrid, image: Image, scan: Scan, name: str) -> Steps[Features]:
    """A grid that was opened, for the scan of a layer. Raises GeometryError when it is of another scan."""
    volume = scan.volume()
    check_source(grid, volume, scan.name, name)
    return (yield from features_steps(image, scan.data, volume, grid))


def check_source(grid: FeatureGrid, volume: Volume, scan_name: str, name: str) -> None:
    """Raise GeometryError unless the grid was made from a scan at this place. Equal voxels are not asked for: a scan
    saved in another format has other bytes."""
    shape, affine = grid.source.get("shape"), grid.source.get("affine")
    fits = shape is None or tuple(shape) == volume.shape
    if fits and affine is not None:
        fits = bool(np.allclose(np.asarray(affine, np.float64), volume.affine, atol=1e-2))
    if not fits:
        of = grid.source.get("file") or "another scan"
        raise GeometryError(
            f"{name} holds features of {of} with shape {shape}; '{scan_name}' has shape {list(volume.shape)} or lies "
            "elsewhere. Open the scan they were extracted from and choose it"
        )


def save_steps(path: Path, features: Features) -> Steps[Path]:
    """Write a grid as .zarr or .npz."""
    yield Progress(0, 0, f"writing {path.name}")
    from napari_medssl.dense.files import save_grid

    save_grid(path, features.grid)
    return path


def index_steps(features: Features) -> Steps[SimilarityIndex]:
    """The index of likeness, made once."""
    if _INDEX not in features.kept:
        from napari_medssl.explore.similarity import similarity_index_steps

        features.kept[_INDEX] = yield from similarity_index_steps(features.grid)  # the best mask known is none
    index: SimilarityIndex = features.kept[_INDEX]
    return index


def colours_steps(features: Features) -> Steps[FeatureColours]:
    """Colours fitted on the patient's cells of a scan, once."""
    if _COLOURS not in features.kept:
        from napari_medssl.explore.colours import fit_colours_steps

        count = min(COMPONENTS, features.grid.channels)
        features.kept[_COLOURS] = yield from fit_colours_steps(features.grid, features.body, components=count)
    colours: FeatureColours = features.kept[_COLOURS]
    return colours


def components_steps(features: Features, fitted_on: Features) -> Steps[tuple[FeatureColours, np.ndarray]]:
    """(Z, Y, X, n) components of the cells in the units of the scan they are fitted on; the last ones are kept."""
    colours = yield from colours_steps(fitted_on)
    kept = features.kept.get(_COMPONENTS)
    if kept is None or kept[0] is not colours:
        found = yield from colours.components_steps(features.grid)
        kept = features.kept[_COMPONENTS] = (colours, found)
    return colours, kept[1]


def place_steps(a: Features, b: Features) -> Steps[Affine]:
    """(4, 4) RAS mm of one scan to roughly RAS mm of the other, once."""
    key = f"place in {b.image.unique_id}"
    kept = a.kept.get(key)
    if kept is None or kept[0] is not b.grid:
        from napari_medssl.explore.place import place_by_matches_steps

        indexes = a.kept[_INDEX], b.kept[_INDEX]
        place = yield from place_by_matches_steps(*indexes, body_a=a.body, body_b=b.body)
        kept = a.kept[key] = (b.grid, place)
    found: Affine = kept[1]
    return found


def _notes(grid: FeatureGrid) -> tuple[str, ...]:
    """What the extraction says of itself: one sentence or several."""
    said = grid.encoder.get("notes", grid.encoder.get("note", ()))
    return (said,) if isinstance(said, str) and said else tuple(said or ())
