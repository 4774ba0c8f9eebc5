"""What counts in judging blobs."""

from __future__ import annotations

import torch

from napari_medssl.models.verifier import build_verifier
from napari_medssl.train.objectives.blob_verdict import BlobVerdict


def test_blobs_without_weight_do_not_count_and_none_at_all_is_no_error() -> None:
    torch.manual_seed(0)
    objective = BlobVerdict(build_verifier("blob-judge", features=4, hidden=6, members=2))
    numbers = torch.randn(2, 3, 4)
    organ = torch.tensor([[1.0, 0, 1], [0, 0, 1]])
    weight = torch.tensor([[1.0, 2, 0], [0, 0, 0]])
    loss = objective({"numbers": numbers, "organ": organ, "weight": weight})["loss"]
    chance = torch.sigmoid(objective.encoder(numbers))
    expected = -(chance[0, 0].log() + 2 * (1 - chance[0, 1]).log()).mean() / 6
    torch.testing.assert_close(loss, expected)
    assert float(objective({"numbers": numbers, "organ": organ, "weight": 0 * weight})["loss"].detach()) == 0
