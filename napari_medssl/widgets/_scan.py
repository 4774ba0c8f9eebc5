"""Layers checked and taken as scans for a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medssl.errors import MedSSLError
from napari_medssl.volume import Affine, Volume
from napari_medssl.widgets._layers import facts_of, layer_affine

if TYPE_CHECKING:
    from napari.layers import Layer


@dataclass(frozen=True, eq=False)
class Scan:
    """What a run needs of a layer, taken in the GUI thread; `volume` does the slow part anywhere."""

    name: str
    data: Any  # array-like (Z, Y, X): NumPy, or lazy
    template: Volume | None
    affine: Affine

    def volume(self) -> Volume:
        """The layer as a Volume; voxels that are not numbers become the darkest value, said so in the notes.

        Raises MedSSLError when no voxel is a number.
        """
        data = np.asarray(self.data)
        if self.template is not None and self.template.data is data and _finite(data):
            return self.template
        data, notes = _repaired(data, self.name)
        if self.template is None:
            return Volume(data, self.affine, notes=notes)
        volume = self.template.like(data)
        return Volume(data, volume.affine, volume.modality, (), volume.native, volume.source, notes)


def scan_of(layer: Layer | None) -> Scan:
    """Check that a layer can be segmented and take what a run needs.

    Raises MedSSLError with a sentence for: no layer, colour, multiscale, not 3 axes, no voxel.
    """
    if layer is None:
        raise MedSSLError("no scan is open; open a CT or MR (File > Open, or drop it on the window) and choose it")
    if getattr(layer, "rgb", False):
        raise MedSSLError(
            f"'{layer.name}' is a colour (RGB) picture; a scan has one grey value per voxel. "
            "Right-click the layer and choose Split RGB, or open the scan itself"
        )
    if layer.multiscale:
        raise MedSSLError(f"'{layer.name}' is a multiscale image; open the scan at full resolution as one array")
    shape = tuple(int(n) for n in layer.data.shape)
    if len(shape) != 3:
        hint = "open the whole series, not one slice" if len(shape) < 3 else "choose one of its volumes"
        raise MedSSLError(f"'{layer.name}' has {len(shape)} axes {shape}; a scan needs 3 (Z, Y, X): {hint}")
    if 0 in shape:
        raise MedSSLError(f"'{layer.name}' is empty (shape {shape}); open a scan that has voxels")
    template = facts_of(layer).get("volume")
    if template is not None and template.shape != shape:
        template = None  # cropped or resampled in the viewer: its place is now the layer's own transform
    return Scan(layer.name, layer.data, template, layer_affine(layer))


def _finite(data: np.ndarray) -> bool:
    return data.dtype.kind != "f" or bool(np.isfinite(data).all())


def _repaired(data: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    if _finite(data):
        return data, ()
    good = np.isfinite(data)
    if not good.any():
        raise MedSSLError(f"no voxel of '{name}' is a number (all are NaN or infinite); open the scan again")
    count = int(data.size - good.sum())
    note = (
        f"{count} voxels of '{name}' are not numbers (NaN or infinite) and count as black; "
        "if the result looks wrong near them, repair the scan and run again"
    )
    return np.where(good, data, data[good].min()), (note,)
