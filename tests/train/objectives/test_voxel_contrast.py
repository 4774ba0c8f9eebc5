"""Contrast between voxels: who is a negative, and where features are read."""

from __future__ import annotations

import pytest
import torch

from napari_medssl.losses.infonce import info_nce
from napari_medssl.losses.temperature import Constant
from napari_medssl.models.unet3d import UNet3dEncoder
from napari_medssl.train.objectives.voxel_contrast import VoxelContrastObjective, _contrast, joined_at


def vectors(seed: int, count: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(seed)
    z1, z2 = (torch.randn(count, 5, generator=made) for _ in range(2))
    return z1, z2, torch.arange(count)[:, None] * torch.tensor([[10.0, 0.0, 0.0]])


def test_without_near_points_it_is_info_nce() -> None:
    z1, z2, places = vectors(0)
    loss, positive, negative = _contrast(z1, z2, places, 0.1, 0.0)
    torch.testing.assert_close(loss, info_nce(z1, z2, Constant(0.1)))
    assert float(positive) != float(negative)


def test_near_points_are_no_negatives_and_partners_stay_positive() -> None:
    z1, z2, places = vectors(1)
    places[1] = places[0] + 1.0  # 1.7 mm away
    first, _, _ = _contrast(z1, z2, places, 0.1, 8.0)
    everything, _, _ = _contrast(z1, z2, places, 0.1, 0.0)
    assert first < everything  # fewer rivals
    z = torch.nn.functional.normalize(torch.cat([z1, z2]), dim=1)
    others = [j for j in range(12) if j not in (0, 1, 7)]  # of row 0: itself, its neighbour and that one's other view
    logits = z[0] @ z.T / 0.1
    row = logits[others].logsumexp(0) - logits[6]
    by_hand = [row]
    for i in range(1, 12):
        partner = (i + 6) % 12
        near = {0: (1, 7), 1: (0, 6), 6: (1, 7), 7: (0, 6)}.get(i, ())
        kept = [j for j in range(12) if j != i and j not in near]
        by_hand.append((z[i] @ z[kept].T / 0.1).logsumexp(0) - z[i] @ z[partner] / 0.1)
    torch.testing.assert_close(first, torch.stack(by_hand).mean())


def test_points_of_other_scans_do_not_matter() -> None:
    torch.manual_seed(0)
    objective = VoxelContrastObjective(UNet3dEncoder(width=0.125, norm="group"), projector=(8, 4)).eval()
    made = torch.Generator().manual_seed(3)
    names = {"view1": (2, 1, 1, 8, 8, 8), "view2": (2, 1, 1, 8, 8, 8), "places": (2, 1, 6, 3)}
    batch = {name: torch.rand(shape, generator=made) * (80 if name == "places" else 1) for name, shape in names.items()}
    batch |= {name: torch.rand(2, 1, 6, 3, generator=made) * 2 - 1 for name in ("points1", "points2")}
    together = objective(batch)["loss"]
    apart = [objective({k: v[i : i + 1] for k, v in batch.items()})["loss"] for i in range(2)]
    torch.testing.assert_close(together, torch.stack(apart).mean(), rtol=1e-4, atol=1e-5)


def test_stages_are_read_where_the_points_are() -> None:
    fine = torch.arange(8.0).view(1, 1, 1, 1, 8).expand(1, 1, 4, 4, 8).contiguous()  # x of the voxel
    coarse = torch.nn.functional.avg_pool3d(fine, 2)
    points = torch.tensor([[[0.5, 0.0, 0.0], [-0.25, 0.0, 0.0]]])  # x = 5.5 and 2.5 in voxels
    found = joined_at([fine, coarse], points)
    torch.testing.assert_close(found[0], torch.tensor([[5.5, 5.5], [2.5, 2.5]]))


def test_half_precision_still_gives_a_number() -> None:
    z1, z2, places = vectors(2)
    loss, _, _ = _contrast(z1.half(), z2.half(), places, 0.1, 8.0)
    assert loss.dtype == torch.float32
    assert loss == pytest.approx(float(_contrast(z1, z2, places, 0.1, 8.0)[0]), rel=0.02)
