"""Self-supervised learning for MR and CT in napari: segmentation, features and classification on one core."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_medssl.engine import Engine, Segmentation
    from napari_medssl.io import read, write
    from napari_medssl.library import Library
    from napari_medssl.oneshot import SegmentSettings, Support
    from napari_medssl.volume import Volume

__version__ = "0.1.0"

_HOMES = {
    "Engine": "engine",
    "Library": "library",
    "Segmentation": "engine",
    "SegmentSettings": "oneshot",
    "Support": "oneshot",
    "Volume": "volume",
    "read": "io",
    "write": "io",
}
__all__ = ["Engine", "Library", "SegmentSettings", "Segmentation", "Support", "Volume", "read", "write"]


def __getattr__(name: str) -> Any:
    # Lazy (PEP 562): plugin discovery and `medssl --help` must not pay for importing torch.
    if name in _HOMES:
        return getattr(importlib.import_module(f"napari_medssl.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
