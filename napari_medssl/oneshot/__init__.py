"""One-shot segmentation: from labelled slices to organs."""

from __future__ import annotations

from napari_medssl.oneshot.result import Segmentation
from napari_medssl.oneshot.settings import SegmentSettings
from napari_medssl.oneshot.support import Support

__all__ = ["SegmentSettings", "Segmentation", "Support"]
