"""A baseline that needs no network: the volumes of labelled organs and their ratios, by logistic regression."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt

from napari_medssl.classify.exams.exam import ExamSet
from napari_medssl.errors import FormatError
from napari_medssl.evaluate.probe import linear_probe
from napari_medssl.io import read
from napari_medssl.progress import Progress, Steps

FloatArray = npt.NDArray[np.float32]


def volume_features(exams: ExamSet, masks: Path) -> Steps[tuple[FloatArray, tuple[str, ...]]]:
    """(N, F) features of each exam and their names.

    masks: folder with a label map under the file name of each scan. For each plane (or phase) and organ the logarithm
    of its millilitres, and for each two planes that show it 1 - smaller / larger: of a heart's cavity at the end of
    diastole and of systole that is the ejection fraction. An organ that is not there has 0.01 ml.

    Raises FormatError when a mask is missing, or an exam lacks a plane: the others would have nothing to stand beside.
    """
    volumes: list[dict[tuple[str, int], float]] = []
    for n, exam in enumerate(exams.exams):
        yield Progress(n, len(exams.exams), "measuring masks")
        mine: dict[tuple[str, int], float] = {}
        for plane in exams.planes:
            if plane not in exam.planes:
                raise FormatError(f"the exam {exam.name} has no {plane} scan, so its volumes cannot be compared")
            path = masks / exam.planes[plane].name
            if not path.is_file():
                raise FormatError(f"{path} is not there; masks are called as their scans")
            mask = read(path, labels=True)
            counts = np.bincount(mask.data.ravel().astype(int))
            mine |= {(plane, int(n)): counts[n] * mask.voxel_ml for n in np.flatnonzero(counts) if n}
        volumes.append(mine)
    places = sorted({place for mine in volumes for place in mine})
    names = [f"ln ml {plane} {organ}".replace("  ", " ") for plane, organ in places]
    table = np.array([[mine.get(place, 0.0) for place in places] for mine in volumes])
    columns = [np.log(np.maximum(table, 0.01))]
    for a, b in combinations(range(len(places)), 2):
        if places[a][1] == places[b][1]:
            pair = np.sort(np.maximum(table[:, [a, b]], 0.01), 1)
            columns.append(1 - pair[:, :1] / pair[:, 1:])
            names.append(f"change of {places[a][1]} from {places[a][0]} to {places[b][0]}")
    return np.concatenate(columns, 1).astype(np.float32), tuple(names)


def volume_probabilities(
    features: FloatArray, exams: ExamSet, train: npt.NDArray[np.intp], test: npt.NDArray[np.intp]
) -> npt.NDArray[np.float64]:
    """(M, L) probabilities for the exams `test` from those in `train`; classes count equally."""
    found = linear_probe(features[train], exams.targets[train], features[test], kind=exams.kind, balanced=True)
    return np.asarray(found, np.float64)
