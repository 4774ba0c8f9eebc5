"""How well a click shows its organ, in its own scan and in another, by what is taken off the features first.

    python scripts/measure_clicks.py WEIGHTS IMAGE_A LABELS_A IMAGE_B LABELS_B ORGAN...

prints the area under the ROC curve of the likeness map for the organs (label values), mean of 8 clicks each, among 9000
cells of the body. Results: docs/methods/exploring.md.
"""

from __future__ import annotations

import sys

import numpy as np

from napari_medssl import Engine, read
from napari_medssl.dense.grid import FeatureGrid
from napari_medssl.explore.body import body_cells
from napari_medssl.explore.cells import centres_of
from napari_medssl.explore.coverage import coverage
from napari_medssl.explore.similarity import similarity_index
from napari_medssl.volume import Volume

FORMS = {
    "as they are": {"centring": False},
    "mean off": {"scaling": False},
    "mean of the body off": {"scaling": False, "body": True},
    "scaled (default)": {},
    "scaled in the body": {"body": True},
}
CLICKS, CELLS = 8, 9000


def area(truth: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve, from ranks."""
    ranks = np.argsort(np.argsort(score))[truth] + 1
    count = len(ranks)
    return float((ranks.sum() - count * (count + 1) / 2) / (count * (len(truth) - count)))


def opened(engine: Engine, weights: str, image: str, labels: str) -> tuple[FeatureGrid, Volume, np.ndarray, np.ndarray]:
    """Grid, labels, body and a sample of the body's cells."""
    scan = read(image)
    grid = engine.grid(scan, weights=weights)
    body = body_cells(grid, scan)
    cells = np.flatnonzero(body)
    return grid, read(labels, labels=True), body, np.random.default_rng(1).choice(cells, min(CELLS, len(cells)), False)


def main(weights: str, *rest: str) -> None:
    """Print a line for each form: here, there."""
    with Engine() as engine:
        scans = [opened(engine, weights, *rest[:2]), opened(engine, weights, *rest[2:4])]
    for form, options in FORMS.items():
        how = {k: v for k, v in options.items() if k != "body"}
        indexes = [similarity_index(g, b if "body" in options else None, **how) for g, _, b, _ in scans]
        found = []
        for organ in map(int, rest[4:]):
            inside = [coverage(g, labels, organ).ravel() >= 0.5 for g, labels, _, _ in scans]
            clicks = np.random.default_rng(0).choice(np.flatnonzero(inside[0]), CLICKS, replace=False)
            for click in indexes[0].at(centres_of(scans[0][0], clicks)):
                maps = [i.map(click[None]).ravel() for i in indexes]
                found.append([area(o[s[3]], m[s[3]]) for o, m, s in zip(inside, maps, scans, strict=True)])
        here, there = np.mean(found, 0)
        sys.stdout.write(f"{form:22s} here {here:.3f}  there {there:.3f}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
