"""Five people with an organ on each side of the body, as files and as encoded scans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_medssl.engine import Engine
from napari_medssl.evaluate.cowpro.scoring import Encoded
from napari_medssl.evaluate.cowpro.settings import ReproductionSettings
from napari_medssl.io import write
from napari_medssl.oneshot.superpixels import SuperpixelSettings
from napari_medssl.train.dataset import Case, collect_cases
from napari_medssl.train.methods.cowpro import CowproSettings
from napari_medssl.train.run_settings import OptimSettings, RunSettings
from napari_medssl.volume import Volume

DEPTH, SIDE = 12, 64
# X runs to the patient's left, Y to the back, Z upwards.
AFFINE = np.array([[0, 0, -3.0, 96], [0, -3.0, 0, 96], [8.0, 0, 0, 0], [0, 0, 0, 1]])

TINY = ReproductionSettings(
    folds=2,
    organs="1 right organ, 2 left organ",
    groups="1 | 2",
    resamples=50,
    train=CowproSettings(
        encoder="slice-resnet",
        encoder_options='{"width": 8, "channels": 16, "in_slices": 1}',
        size=SIDE,
        superpixels=SuperpixelSettings(min_size=800),
        run=RunSettings(steps=2, batch=1, optim=OptimSettings(), seed=3, validation_share=0.0, monitor_every=0),
    ),
)


def make_person(n: int, *, twin: bool = False) -> tuple[Volume, np.ndarray]:
    """Organ 1 in the patient's right half on slices 1 to 6, organ 2 in the left half on slices 5 to 10.

    twin: something that looks like organ 1 lies at the mirrored place and is no organ.
    """
    ys, xs = np.ogrid[:SIDE, :SIDE]
    labels = np.zeros((DEPTH, SIDE, SIDE), np.uint8)
    labels[1:7, (ys - 30 - n % 2) ** 2 + (xs - 18) ** 2 < 81] = 1
    labels[5:11, (ys - 36) ** 2 + (xs - 46 + n % 3) ** 2 < 81] = 2
    image = np.where((ys - 32) ** 2 + (xs - 32) ** 2 < 30**2, 60.0, 5.0) + np.zeros(labels.shape)
    image[labels == 1], image[labels == 2] = 220, 140
    if twin:
        image[1:7, (ys - 30 - n % 2) ** 2 + (xs - 46) ** 2 < 81] = 220
    image += np.random.default_rng(n).normal(0, 3, image.shape)
    return Volume(image.astype(np.float32), AFFINE, "MR"), labels


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """p7 to p11 in images/ and labels/: p9 comes before p10."""
    root = tmp_path_factory.mktemp("people")
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    for n in range(7, 12):
        volume, labels = make_person(n)
        write(root / "images" / f"p{n}.nii.gz", volume)
        write(root / "labels" / f"p{n}.nii.gz", volume.like(labels))
    return root


@pytest.fixture(scope="session")
def cases(people: Path) -> list[Case]:
    """The same as cases."""
    return collect_cases([people])


@pytest.fixture(scope="session")
def encoded() -> Callable[..., Encoded]:
    """Maker of scans with the features that need no weights: `encoded(n, twin=...)`."""
    engine = Engine("cpu", "none")

    def make(n: int, *, twin: bool = False) -> Encoded:
        volume, labels = make_person(n, twin=twin)
        return Encoded(f"p{n}.nii.gz", f"p{n}", volume, labels, engine.features(volume))

    return make


@pytest.fixture
def tiny() -> ReproductionSettings:
    """Two folds, two organs, two steps."""
    return TINY


@pytest.fixture
def cpu() -> torch.device:
    """Where tests compute."""
    return torch.device("cpu")
