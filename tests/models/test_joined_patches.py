"""The vector of several patches: each part belongs to one patch, and all are made alike."""

from __future__ import annotations

import torch

from napari_medssl.models.joined_patches import PATCH_FEATURES, JoinedPatches


def test_each_part_is_its_patch_alone_and_all_are_made_alike() -> None:
    torch.manual_seed(0)
    joined = JoinedPatches(3, 10).eval()
    features = torch.randn(4, 3, 10)
    out = joined(features.flatten(1)).view(4, 3, PATCH_FEATURES)
    changed = features.clone()
    changed[:, 1] += 1
    moved = joined(changed.flatten(1)).view(4, 3, PATCH_FEATURES) != out
    assert moved[:, 1].any()
    assert not moved[:, [0, 2]].any()
    swapped = joined(features[:, [2, 0, 1]].flatten(1)).view(4, 3, PATCH_FEATURES)
    torch.testing.assert_close(swapped, out[:, [2, 0, 1]])
    assert joined.width == 3 * PATCH_FEATURES
