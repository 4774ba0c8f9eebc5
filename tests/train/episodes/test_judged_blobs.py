"""Blobs of rehearsals, with the truth about them."""

from __future__ import annotations

import numpy as np
import torch

from napari_medssl.oneshot.blob_features import FEATURES
from napari_medssl.train.episodes.judged_blobs import BlobSettings, JudgedBlobs, judged_table
from napari_medssl.train.episodes.rehearsals import Rehearsal, Rehearsals
from napari_medssl.train.episodes.sources import WalkSettings
from tests.oneshot.test_blobs import disc
from tests.train.episodes.test_walks import drifting


def slid() -> Rehearsal:
    truth = np.zeros((20, 60, 80), bool)
    truth[4:13, disc((30, 20), 11)] = True
    guide = truth.copy()
    guide[11:17, disc((30, 42), 12)] = True
    image = np.where(guide, 150, 60).astype(np.uint8)
    return Rehearsal(image, truth, guide.astype(np.uint8) * 255, 8, (2.0, 1.0, 1.0))


def test_blobs_of_the_neighbour_are_not_the_organ() -> None:
    table = judged_table(slid())
    assert len(table.numbers) == len(table.share) == len(table.weight) == 4 + 2 + 2 * 2 + 4
    assert ((table.share > 0.95) | (table.share < 0.05)).all()
    assert (table.share < 0.5).sum() == 6
    near = table.numbers[:, FEATURES.index("overlap")]
    assert near[table.share > 0.5].min() > near[table.share < 0.5].max()  # what is judged wrong is not kept
    assert table.weight.min() > 0.5


def test_draws_are_rows_of_the_tables() -> None:
    task = JudgedBlobs(
        BlobSettings(pool=6, blobs=12), Rehearsals(WalkSettings(supervoxel_cases=0), None, seed=5, share=0.85)
    )
    scans = [drifting()]
    examples = [task.draw(scans, np.random.default_rng(n)) for n in range(8)]
    assert all(e["numbers"].shape == (12, len(FEATURES)) for e in examples)
    judged = [e for e in examples if e["weight"].any()]
    assert judged  # in thin slices the square is wide enough
    for example in judged:
        assert set(example["organ"].unique().tolist()) <= {0.0, 1.0}
        assert (example["weight"] > 0).all()
        assert example["numbers"].any()
    again = task.draw(scans, np.random.default_rng(2))
    assert all(torch.equal(examples[2][k], again[k]) for k in again)


def test_a_rehearsal_without_blobs_weighs_nothing() -> None:
    found = slid()
    table = judged_table(Rehearsal(found.image, found.truth, 0 * found.guide, 8, found.spacing_mm))
    assert table.numbers.shape == (0, len(FEATURES))
