"""Two distorted crops, each with a target that was changed in a known way: the examples of PCRL-lite."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from napari_medssl.pretext.crops3d import Size, check_size, cut
from napari_medssl.pretext.scan import Scan, pick_scan, to_float
from napari_medssl.pretext.task import Example
from napari_medssl.pretext.views3d import check_overlap, draw_pair
from napari_medssl.transforms.blur import blur_volumes
from napari_medssl.transforms.genesis import GenesisRates, distort, draw_curve, flip_randomly

N_CONDITIONS = 7
"""Numbers that tell how a target was changed: its intensity curve at six even levels, and its blur in voxels."""

_KNOTS = (0, 51, 102, 153, 204, 255)
_INPUT_RATES = GenesisRates(curve=0.0)  # the target's own curve starts from the true intensities, so they must be seen
_CURVED, _BLURRED, _BLUR_SIGMA = 0.9, 0.5, (0.5, 1.5)


class ConditionedViews:
    """Two overlapping crops, shuffled and painted; what is to be restored is each crop under a known change.

    A change is an intensity curve and a blur. The network is told which ("condition1", "condition2"), so it has to
    carry everything that any change may ask for. Flips would be told as easily, but a decoder sees a few voxels around
    a place and cannot carry its content to the other end of the crop; they are made on crop and target alike.

    An example: "crop1", "crop2", "distorted1", "distorted2" (Z, Y, X) uint8, "curve1", "curve2" (256,) uint8, "blur1",
    "blur2" scalar float32 in voxels, "mix" scalar float32 in [0, 1], from Beta(1, 1).
    A batch: "view1", "view2", "target1", "target2" (B, 1, Z, Y, X), "condition1", "condition2" (B, 7), "mix" (B,).

    Source: Zhou et al., 2021 (PCRL); paper 002, section 3.2, omits all equations (S75, B2-29). That views overlap by
    `min_iou` is that paper's rule for pairs; the choice of changes is ours.
    """

    def __init__(self, crop: Size, *, min_iou: float = 0.25) -> None:
        check_size("crop", crop)
        check_overlap(min_iou)
        self.crop, self.min_iou = crop, min_iou

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        image = pick_scan(scans, rng).image
        example: Example = {"mix": torch.tensor(rng.beta(1.0, 1.0), dtype=torch.float32)}
        for i, corner in enumerate(draw_pair(image, self.crop, rng, min_iou=self.min_iou), start=1):
            crop = flip_randomly(cut(image, corner, self.crop), rng, _INPUT_RATES.flip)
            curve = draw_curve(rng) if rng.random() < _CURVED else np.arange(256, dtype=np.uint8)
            sigma = float(rng.uniform(*_BLUR_SIGMA)) if rng.random() < _BLURRED else 0.0
            example |= {
                f"crop{i}": torch.from_numpy(crop),
                f"distorted{i}": torch.from_numpy(distort(crop, rng, _INPUT_RATES)),
                f"curve{i}": torch.from_numpy(curve),
                f"blur{i}": torch.tensor(sigma, dtype=torch.float32),
            }
        return example

    def prepare(self, batch: Example) -> Example:
        prepared = {"mix": batch["mix"]}
        for i in (1, 2):
            curve, sigmas = batch[f"curve{i}"], batch[f"blur{i}"]
            changed = to_float(curved(batch[f"crop{i}"], curve))[:, None]
            knots = to_float(curve[:, torch.tensor(_KNOTS, device=curve.device)])
            prepared |= {
                f"view{i}": to_float(batch[f"distorted{i}"])[:, None],
                f"target{i}": blur_volumes(changed, sigmas),
                f"condition{i}": torch.cat([knots, sigmas[:, None]], 1),
            }
        return prepared


def curved(crops: Tensor, curves: Tensor) -> Tensor:
    """(B, Z, Y, X) uint8 crops, each under its (256,) uint8 curve of (B, 256)."""
    return curves.gather(1, crops.flatten(1).long()).view(crops.shape)
