"""Support libraries: named organ examples in one portable file, applied to any number of scans."""

from __future__ import annotations

from napari_medssl.library.example import Example
from napari_medssl.library.keeping import KeepSettings, KeptScan
from napari_medssl.library.library import Library

__all__ = ["Example", "KeepSettings", "KeptScan", "Library"]
