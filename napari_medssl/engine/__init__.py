"""The shared core: one engine owns device, models and features."""

from __future__ import annotations

from napari_medssl.engine.cache import CacheStatistics
from napari_medssl.engine.encode import EncodeSettings
from napari_medssl.engine.engine import Engine
from napari_medssl.engine.weights import WeightsFacts, list_weights
from napari_medssl.oneshot.result import Segmentation

__all__ = ["CacheStatistics", "EncodeSettings", "Engine", "Segmentation", "WeightsFacts", "list_weights"]
