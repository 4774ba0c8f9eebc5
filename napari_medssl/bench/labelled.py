"""Labelled scans of a measurement, and their organs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_medssl.errors import FormatError
from napari_medssl.io import read
from napari_medssl.train.dataset import Case
from napari_medssl.volume import Volume


def labelled_cases(cases: Sequence[Case]) -> list[Case]:
    """Those with a label map. Raises FormatError when there is none."""
    found = [case for case in cases if case.labels is not None]
    if not found:
        raise FormatError("no scan with labels was given; DATA needs images/ and labels/ with the same file names")
    return found


def read_labelled(case: Case) -> tuple[Volume, np.ndarray]:
    """(scan, (Z, Y, X) label map). Raises FormatError when they are not on one grid."""
    assert case.labels is not None  # only labelled cases are read
    scan, labels = read(case.image), read(case.labels, labels=True)
    if labels.shape != scan.shape:
        raise FormatError(f"{case.labels} has shape {labels.shape} but its scan has {scan.shape}; give its own labels")
    return scan, np.asarray(labels.data)
