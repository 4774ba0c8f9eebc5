"""Small labelled volumes on disk: two organs in a body, where they can be told by brightness and by place."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_medssl.io import write
from napari_medssl.volume import Volume

SHAPE, SPACING = (20, 28, 28), (4.0, 3.0, 3.0)


def make_folder(root: Path, people: int = 3) -> Path:
    """A folder with images/ and labels/; organ 1 is bright, organ 2 as dark as the body, each person shifted."""
    for part in ("images", "labels"):
        (root / part).mkdir(parents=True)
    for n in range(people):
        image, labels = person(n)
        write(root / "images" / f"toy_{n:02d}.nii.gz", image)
        write(root / "labels" / f"toy_{n:02d}.nii.gz", labels)
    return root


def person(n: int) -> tuple[Volume, Volume]:
    """Scan and label map."""
    rng = np.random.default_rng(n)
    z, y, x = np.indices(SHAPE)
    body = (y - 14) ** 2 + (x - 14) ** 2 < 12**2
    labels = np.zeros(SHAPE, np.uint8)
    labels[(z - 7 - n % 2) ** 2 * 1.5 + (y - 13) ** 2 + (x - 9) ** 2 < 20] = 1
    labels[(z - 12) ** 2 * 1.5 + (y - 14 - n % 2) ** 2 + (x - 19) ** 2 < 20] = 2
    image = 300.0 * body + 400.0 * (labels == 1) + rng.normal(0, 15, SHAPE)
    affine = np.array([[0, 0, -SPACING[2], 30], [0, -SPACING[1], 0, 20 * n], [SPACING[0], 0, 0, -50], [0, 0, 0, 1.0]])
    return Volume(image.astype(np.float32), affine), Volume(labels, affine)
