"""Scans made of vectors: what is on a slice is known, and so is where it lies in the body."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from napari_medssl.classify.slices import EncoderFacts, SliceMarks, SliceVectors, several_classes

DEPTH, SIZE = 20, 24
ORGANS = {"liver": (4, 12), "spleen": (9, 15)}
"""Organ to its half-open range of slices, when a scan begins at slice 0 of the body."""


@pytest.fixture
def encoder() -> EncoderFacts:
    """Where the vectors come from."""
    return EncoderFacts("fake", "tiny", "ab" * 32)


@pytest.fixture
def make_scan(encoder: EncoderFacts) -> Callable[..., SliceVectors]:
    """A scan by its seed, begun so many slices above the body's first, in a scanner of its own."""

    def make(seed: int, *, start: int = 0, depth: int = DEPTH, noise: float = 0.3) -> SliceVectors:
        rng = np.random.default_rng(seed)
        data = rng.normal(0, noise, (depth, SIZE))
        body = np.arange(start, start + depth)
        for column, (low, high) in enumerate(ORGANS.values()):
            data[(body >= low) & (body < high), column::6] += 1
        data[:, 2::6] += 0.1 * body[:, None]  # something that rises along the body
        data = data * (1 + 0.1 * (seed % 4)) + 0.1 * (seed % 4)  # another scanner: another gain and offset
        return SliceVectors(data.astype(np.float32), np.arange(depth, dtype=np.float32) * 20, encoder)

    return make


@pytest.fixture
def scans(make_scan: Callable[..., SliceVectors]) -> dict[str, SliceVectors]:
    """Four people."""
    return {f"person_{i}": make_scan(i, start=i % 3) for i in range(4)}


def shown(start: int = 0, depth: int = DEPTH) -> dict[int, list[str]]:
    """Every slice of a scan with the organs on it."""
    return {z: [o for o, (low, high) in ORGANS.items() if low <= z + start < high] for z in range(depth)}


@pytest.fixture
def marks() -> SliceMarks:
    """All slices of two of the people."""
    return several_classes(list(ORGANS), {f"person_{i}": shown(i % 3) for i in range(2)})
