"""A few nodes become a map without edges."""

from __future__ import annotations

import torch

from napari_medssl.transforms.smooth_map import smooth_map


def test_the_outer_nodes_lie_on_the_corners_and_nothing_jumps_between() -> None:
    nodes = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    found = smooth_map(nodes, (40, 60))
    assert found.shape == (2, 3, 40, 60)
    torch.testing.assert_close(found[..., [0, 0, -1, -1], [0, -1, 0, -1]], nodes[..., [0, 0, -1, -1], [0, -1, 0, -1]])
    assert float(found.diff(dim=-1).abs().max()) < 0.15
    assert float(found.diff(dim=-2).abs().max()) < 0.2
    torch.testing.assert_close(smooth_map(torch.full((1, 1, 4, 4), 0.7), (9, 9)), torch.full((1, 1, 9, 9), 0.7))
