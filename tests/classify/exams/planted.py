"""Synthetic exams in which a planted sign decides the label."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_medssl.classify.exams.exam import Exam, ExamSet, check_exams
from napari_medssl.classify.exams.settings import ExamSettings

SIDE = 32

TINY = ExamSettings(
    encoder="slice-resnet", encoder_options='{"in_slices": 1, "width": 8, "channels": 16, "input_size": 32}',
    slices=4, sampling="stratified", test_sampling="normal", draws=4, mode="full", epochs=24, batch=6, head_rate=5e-4,
    encoder_rate=5e-4, weight_decay=0.0,
)  # fmt: skip
"""Seconds on one core."""


def plant(folder: Path, count: int = 40, planes: tuple[str, ...] = ("sagittal",), seed: int = 0) -> ExamSet:
    """`count` exams of one person each with 4 to 8 noisy slices; every second has a bright ring in its middle slices.

    In the second plane, if there is one, nothing is to be seen, and exam 9 lacks it.
    """
    rng = np.random.default_rng(seed)
    exams = []
    for n in range(count):
        ill = n % 2
        files = {}
        for number, plane in enumerate(planes):
            if (n, number) == (9, 1):
                continue
            slices = _noise(rng, ring=bool(ill) and number == 0)
            path = folder / plane / f"{n:03d}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, slices)
            files[plane] = path
        exams.append(Exam(f"{n:03d}", f"person-{n:03d}", files, (float(ill),)))
    return check_exams(ExamSet("several", ("ring",), tuple(exams)))


def _noise(rng: np.random.Generator, *, ring: bool) -> np.ndarray:
    depth = int(rng.integers(4, 9))
    slices = rng.normal(90, 15, (depth, SIDE, SIDE))
    slices[:, 4:28, 4:28] += 40
    if ring:
        y, x = rng.integers(11, 21, 2)
        rows, columns = np.mgrid[:SIDE, :SIDE]
        far = np.hypot(rows - y, columns - x)
        slices[depth // 4 : depth - depth // 4, (far > 2.5) & (far < 5.5)] += 110
    return slices.clip(0, 255).astype(np.uint8)
