"""Measuring speed and memory against the project's goals, side by side in one run."""

from napari_medssl.bench.goals import BenchSettings, Measurement
from napari_medssl.bench.suite import bench_steps

__all__ = ["BenchSettings", "Measurement", "bench_steps"]
