"""Superpixels of slices kept in a folder."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_medssl.io.atomic import replacing
from napari_medssl.oneshot.superpixels import SuperpixelSettings
from napari_medssl.settings import digest


@dataclass(frozen=True)
class PseudoMaskCache:
    """Superpixel maps of volumes kept in a folder, so that a resumed or second training does not compute them again.

    folder: made when the first entry is written. An entry that cannot be read counts as absent and is replaced.
    """

    folder: Path

    def load(self, content_hash: str, variant: str) -> npt.NDArray[np.uint16] | None:
        """Stored (Z, S, S) maps of the volume with this hash, or None. `variant` names settings and grid."""
        path = self._path(content_hash, variant)
        if not path.is_file():
            return None
        try:
            with path.open("rb") as f, np.load(f, allow_pickle=False) as stored:
                maps: npt.NDArray[np.uint16] = stored["superpixels"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None  # cut short by a crash of another program or a full disk: recomputed and replaced
        return maps

    def store(self, content_hash: str, variant: str, maps: npt.NDArray[np.uint16]) -> Path:
        """Write maps whole or not at all, and return the file. Raises FormatError when the disk refuses."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(content_hash, variant)
        with replacing(path) as (part,), part.open("wb") as f:
            np.savez_compressed(f, superpixels=maps)
        return path

    def _path(self, content_hash: str, variant: str) -> Path:
        return self.folder / f"{content_hash[:24]}-{variant}.npz"


def cache_variant(settings: SuperpixelSettings, size: int) -> str:
    """Name of one way to cut volumes: changes when the settings or the `size` of the encoder input change."""
    return f"{size}-{digest(settings)}"
