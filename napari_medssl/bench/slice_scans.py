"""Labelled scans as vectors of slices, by several encoders and by hand, with the organs on every slice."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_medssl.classify.slices.sources import organs_on_slices
from napari_medssl.classify.slices.vectors import EncoderFacts, SliceVectors, slice_positions_mm, slice_vectors_steps
from napari_medssl.engine import Engine
from napari_medssl.errors import FormatError
from napari_medssl.evaluate.candidate import load_candidate
from napari_medssl.evaluate.data import spread
from napari_medssl.intensity import to_unit, window_limits
from napari_medssl.io import read
from napari_medssl.models.bundle import module_bundle, save_bundle
from napari_medssl.progress import Progress, Steps
from napari_medssl.samples.folder import ORGAN_NAMES
from napari_medssl.train.dataset import Case
from napari_medssl.train.store import subject_of
from napari_medssl.volume import Volume

TRAINED, FIRST, BY_HAND = "trained weights", "first weights", "by hand"
_BINS, _EDGES = 16, 8
_PLACE_COLUMNS = 8  # of the position, so that it counts among the histograms


@dataclass(frozen=True, eq=False)
class KnownScan:
    """A scan with what its slices show.

    name, person: of the file. vectors: source to the slices. organs: slice (numbered as in the vectors) to organs.
    """

    name: str
    person: str
    vectors: dict[str, SliceVectors]
    organs: dict[int, list[str]]


@contextmanager
def engines_of(weights: str | Path, device: str, *, seed: int) -> Iterator[dict[str, Engine]]:
    """Engines with the weights and with the same architecture before training, by the name of the source.

    The second is left out when there are no weights to learn. Hardly anything is cached: each scan is encoded once.
    """
    with Engine(device, weights, feature_budget_mb=1) as trained, ExitStack() as stack:
        found = {TRAINED: trained}
        candidate = load_candidate(weights, trained.policy)
        if candidate.learns:
            file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "first.safetensors"
            save_bundle(file, module_bundle("encoder", candidate.kind, candidate.fresh(seed), {}))
            found[FIRST] = stack.enter_context(Engine(device, file, feature_budget_mb=1))
        yield found


def known_scans_steps(
    cases: Sequence[Case], engines: Mapping[str, Engine], *, slices_per_scan: int
) -> Steps[list[KnownScan]]:
    """Every labelled scan, at most `slices_per_scan` of its slices (0: all) at even distances, by all sources."""
    scans: list[KnownScan] = []
    for number, case in enumerate(cases):
        yield Progress(number, len(cases), "encoding scans", case.image.name)
        scans.append((yield from _known(case, engines, slices_per_scan)))
    return scans


def by_hand(volume: Volume, slices: Sequence[int]) -> SliceVectors:
    """Slices told by histograms of intensity and of gradients, of the slice and its quarters, and by their place.

    What a user without a network would take: 16 bins of the window, 8 of the gradient's size, and the height in the
    scan from 0 to 1.
    """
    unit = to_unit(volume.data[list(slices)], window_limits(volume))
    steep = np.hypot(*np.gradient(unit, axis=(1, 2)))
    parts = [_histograms(unit[:, rows, columns], steep[:, rows, columns]) for rows, columns in _parts(unit.shape)]
    depth = max(1, volume.shape[0] - 1)
    place = np.repeat(np.array(slices, np.float32)[:, None] / depth, _PLACE_COLUMNS, 1)
    positions = slice_positions_mm(volume.affine, volume.shape[0])[list(slices)]
    data = np.concatenate([*parts, place], 1).astype(np.float32)
    return SliceVectors(data, positions, EncoderFacts("histograms", BY_HAND, BY_HAND))


def organ_names(group: str) -> dict[int, str]:
    """Label value to name in a known data set; empty for others."""
    return dict(enumerate(ORGAN_NAMES.get(group, ()), 1))


def _known(case: Case, engines: Mapping[str, Engine], count: int) -> Steps[KnownScan]:
    assert case.labels is not None  # only labelled cases are asked
    volume, labels = read(case.image), read(case.labels, labels=True)
    if labels.shape != volume.shape:
        raise FormatError(f"{case.labels} has shape {labels.shape} but its scan has {volume.shape}")
    slices = spread(count, volume.shape[0]).tolist() if count else list(range(volume.shape[0]))
    vectors = {BY_HAND: by_hand(volume, slices)}
    for name, engine in engines.items():
        vectors[name] = yield from slice_vectors_steps(engine, volume, slices=slices)
        engine.cache.clear()
    names, shown = organ_names(case.group), organs_on_slices(labels)
    organs = {at: [names.get(v, str(v)) for v in shown[z]] for at, z in enumerate(slices)}
    return KnownScan(case.image.name, case.person or subject_of(case.image.name), vectors, organs)


def _parts(shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    y, x = shape[1] // 2, shape[2] // 2
    low, high = slice(None), slice(None)
    return [(low, high), *((r, c) for r in (slice(0, y), slice(y, None)) for c in (slice(0, x), slice(x, None)))]


def _histograms(unit: npt.NDArray[np.float32], steep: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """(n, bins) shares of the pixels."""
    return np.array([
        np.concatenate([
            np.histogram(plane, _BINS, (0, 1))[0], np.histogram(edges, _EDGES, (0, 0.5))[0],
        ]) / plane.size
        for plane, edges in zip(unit, steep, strict=True)
    ])  # fmt: skip
