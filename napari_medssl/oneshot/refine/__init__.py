"""Refinement steps, one per file: probability in, probability out."""

from __future__ import annotations

from napari_medssl.oneshot.refine import connected, holes, random_walk, smooth
from napari_medssl.oneshot.refine.step import REACH_MM, RefineContext, Refiner, refiners

__all__ = ["REACH_MM", "RefineContext", "Refiner", "connected", "holes", "random_walk", "refiners", "smooth"]
