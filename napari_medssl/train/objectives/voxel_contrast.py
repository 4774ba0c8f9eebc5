"""Finding a voxel's other view among the voxels of the same scan."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.losses.float32 import in_float32
from napari_medssl.losses.infonce import partner_cross_entropy
from napari_medssl.losses.pairs import cosines, negative_mean, positives
from napari_medssl.models.heads import mlp
from napari_medssl.models.unet3d import UNet3dEncoder
from napari_medssl.pretext.task import Example
from napari_medssl.train.objective import Objective


class VoxelContrastObjective(Objective):
    """InfoNCE between voxels, on the features of all stages joined.

    A batch has view1, view2 (B, P, 1, Z, Y, X): P pairs of crops of each of B scans; points1, points2 (B, P, N, 3):
    where in the views, x, y, z in [-1, 1]; places (B, P, N, 3): where in the scan, in mm. The stages are read at the
    points by trilinear interpolation and joined; a projector, discarded after training, gives the vectors that are
    compared. The loss is the mean over scans of InfoNCE among the 2 P N vectors of a scan.

    projector: widths after the joined stages'. near_mm: points nearer than this are no negatives of each other, for
    they belong to the same tissue; with 0 all others are. Points of other scans never are negatives: the same organ of
    another person has to stay alike.

    Gives loss, positive_cosine and negative_cosine.

    Source: see `VoxelPairs`; joined levels as in vox2vec (Goncharov et al. 2023), which has a decoder where the
    encoder's own stages are read here. That near points and other scans are left out is ours.
    """

    def __init__(
        self,
        encoder: UNet3dEncoder,
        *,
        projector: Sequence[int] = (256, 64),
        temperature: float = 0.1,
        near_mm: float = 8.0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = mlp([sum(encoder.stage_channels), *projector])
        self._temperature, self._near_mm = temperature, near_mm

    def forward(self, batch: Example) -> dict[str, Tensor]:
        views = torch.cat([batch["view1"], batch["view2"]]).flatten(0, 1)
        points = torch.cat([batch["points1"], batch["points2"]]).flatten(0, 1)
        read = joined_at(self.encoder.stages(views), points)  # (2 B P, N, C)
        embedded = self.projector(read.flatten(0, 1)).unflatten(0, (2, len(batch["places"]), -1))
        places = batch["places"].flatten(1, 2)
        found = [
            _contrast(z1, z2, at, self._temperature, self._near_mm)
            for z1, z2, at in zip(embedded[0], embedded[1], places, strict=True)
        ]
        loss, near, far = (torch.stack(values).mean() for values in zip(*found, strict=True))
        return {"loss": loss, "positive_cosine": near.detach(), "negative_cosine": far.detach()}


def joined_at(stages: Sequence[Tensor], points: Tensor) -> Tensor:
    """(B, N, sum of channels) of all (B, C, Z, Y, X) stages at (B, N, 3) points, x, y, z in [-1, 1], trilinear."""
    grid = points[:, None, None].to(stages[0].dtype)
    read = [F.grid_sample(s, grid, padding_mode="border", align_corners=False)[:, :, 0, 0] for s in stages]
    return torch.cat(read, 1).transpose(1, 2)


@in_float32
def _contrast(
    z1: Tensor, z2: Tensor, places: Tensor, temperature: float, near_mm: float
) -> tuple[Tensor, Tensor, Tensor]:
    similar = cosines(z1, z2)
    n = len(places)
    near = (torch.cdist(places, places) < near_mm).repeat(2, 2)
    partner = torch.eye(n, dtype=torch.bool, device=near.device)
    near[:n, n:] &= ~partner
    near[n:, :n] &= ~partner
    loss = partner_cross_entropy((similar / temperature).masked_fill(near, -torch.inf))
    return loss, positives(similar).mean(), negative_mean(similar)
