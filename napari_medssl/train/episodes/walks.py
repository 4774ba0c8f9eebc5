"""Short walks through scans, along which a mask is carried.

A walk starts at a slice whose mask is known (sometimes damaged, as after an imperfect step), goes a few slices up or
down, and past the organ's end if need be. Organs are those of labelled scans and, for everything else, supervoxels
(SLIC), so that the network learns to carry any region in any contrast. Ours, after Sli2Vol (Yeung et al. 2021).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.models.propagator import crop_grid
from napari_medssl.oneshot.propagation import box_around
from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.task import Example
from napari_medssl.train.episodes.sources import Sources, WalkSettings, WalkVolume
from napari_medssl.transforms.appearance import apply_appearance, draw_appearance


class Walks:
    """Draws {"images": (T + 2, S, S), "masks": (T + 1, S, S), "support", "support_mask": (S, S), "gap_mm", "start_mm"}.

    images: crops of the start slice, of the T targets and of the slice beyond. masks: the one that is carried into the
    walk, perhaps damaged, and those of the targets. support: the labelled slice. gap_mm: between two slices of the
    walk. start_mm: from the labelled slice to the start. All float32.

    crop_size: S. Scans are walked through on their own grid. Crops are cut and changed while drawing: a few slices of a
    large scan become small squares, which is all that travels.
    """

    def __init__(self, settings: WalkSettings, *, crop_size: int) -> None:
        self._settings, self._size = settings, crop_size
        self._built: tuple[Sequence[Scan], Sources] | None = None

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        """One walk. Raises FormatError when nothing can be followed from one slice to the next."""
        if self._built is None or self._built[0] is not scans:
            self._built = (scans, Sources(scans, self._settings))
        volume = self._built[1].pick(rng)
        organ = int(rng.choice(list(volume.extents)))
        zs = volume.extents[organ]
        weights = volume.areas[zs, organ] ** 0.7
        support = int(rng.choice(zs, p=weights / weights.sum()))
        direction = int(rng.choice([-1, 1]))
        stride = max(1, round(float(rng.uniform(1.0, 9.0)) / volume.spacing_mm[0]))
        ahead = zs[(zs - support) * direction >= 0]
        ahead = ahead[np.argsort(ahead * direction)]
        start, carried = walk_start(ahead, direction, stride, self._settings.steps, depth=len(volume.image), rng=rng)
        rows = start + direction * stride * np.arange(self._settings.steps + 2)
        example = self._crop(volume, organ, support, rows, carried, rng)
        gap, way = stride * volume.spacing_mm[0], abs(start - support) * volume.spacing_mm[0]
        return example | {"gap_mm": torch.tensor(float(gap)), "start_mm": torch.tensor(float(way))}

    def prepare(self, batch: Example) -> Example:
        """The batch as it is."""
        return batch

    def _crop(
        self,
        volume: WalkVolume,
        organ: int,
        support: int,
        rows: npt.NDArray[np.intp],
        carried: int,
        rng: np.random.Generator,
    ) -> Example:
        order = [support, *np.clip(rows, 0, len(volume.image) - 1)]
        images = torch.from_numpy(volume.image[order].astype(np.float32) / 255)
        labels = torch.from_numpy(volume.labels[order].astype(np.float32))
        masks = (labels == organ).float()
        masks[1] = torch.from_numpy(volume.labels[carried] == organ).float()
        grid = walk_grid(masks[0].numpy(), masks[1].numpy(), self._size, rng)
        images = F.grid_sample(images[None], grid, align_corners=False)[0]
        labels = F.grid_sample(labels[None], grid, mode="nearest", align_corners=False)[0]
        masks = (F.grid_sample(masks[None], grid, align_corners=False)[0] > 0.5).float()
        noise = torch.Generator().manual_seed(int(rng.integers(2**63)))
        images = apply_appearance(images, labels, draw_appearance(rng, strength=0.7), noise)
        images = images * torch.tensor(1 + rng.normal(0, 0.03, len(order)), dtype=torch.float32)[:, None, None]
        walked = masks[1:-1].clone()
        walked[0] = damaged(walked[0], rng)
        return {"images": images[1:], "masks": walked, "support": images[0], "support_mask": masks[0]}


def walk_start(
    ahead: npt.NDArray[np.intp], direction: int, stride: int, steps: int, *, depth: int, rng: np.random.Generator
) -> tuple[int, int]:
    """The slice a walk starts on, and the slice whose mask it starts with.

    ahead: the organ's slices from the labelled one on, in the direction of the walk. The two differ when the walk
    is already lost: past the organ's end, still holding the last mask. Walks near the end and past it are drawn
    more often than chance would, because stopping is the hardest part.
    """
    kind = rng.random()
    if kind < 0.35:
        return int(ahead[0]), int(ahead[0])
    if kind < 0.6:
        return (start := int(rng.choice(ahead))), start
    if kind < 0.88:
        near = ahead[-max(1, steps * stride) :]
        return (start := int(rng.choice(near))), start
    last = int(ahead[-1])
    past = last + direction * int(rng.integers(1, 2 * stride + 1))
    return int(np.clip(past, 0, depth - 1)), last


def walk_grid(
    support: npt.NDArray[np.float32], start: npt.NDArray[np.float32], size: int, rng: np.random.Generator
) -> Tensor:
    """(1, size, size, 2) sampling grid around a mask, turned, stretched and mirrored at random."""
    shape = (support.shape[0], support.shape[1])
    y, x, side = box_around(start if start.any() else support, support)
    side *= float(rng.uniform(0.85, 1.25))
    y, x = y + side * rng.normal(0, 0.05), x + side * rng.normal(0, 0.05)
    grid = crop_grid(torch.tensor([[y, x, side]], dtype=torch.float32), size, shape)
    angle = float(rng.uniform(-0.5, 0.5))
    squeeze = float(np.exp(rng.normal(0, 0.1)))
    flip = float(rng.choice([-1.0, 1.0]))
    turn = torch.tensor(
        [[np.cos(angle) * squeeze, -np.sin(angle)], [np.sin(angle), np.cos(angle) / squeeze]], dtype=torch.float32
    )
    turn[:, 0] *= flip
    # Turn in pixels around the box centre: grid units differ between axes when the slice is not square.
    unit = torch.tensor([shape[1] / 2, shape[0] / 2])
    centre = grid.mean((1, 2), keepdim=True)
    return ((grid - centre) * unit @ turn.T) / unit + centre


def damaged(mask: Tensor, rng: np.random.Generator) -> Tensor:
    """A (S, S) mask as an imperfect step leaves it: shifted, grown or shrunk, softened, a piece lost or added."""
    if rng.random() < 0.3:
        return mask
    shift = [int(v) for v in rng.integers(-4, 5, 2)]
    out = torch.roll(mask, shift, (0, 1))
    k = int(rng.choice([3, 5, 7]))
    grow = rng.random() < 0.5
    pooled = F.max_pool2d((out if grow else 1 - out)[None, None], k, 1, k // 2)[0, 0]
    out = pooled if grow else 1 - pooled
    if rng.random() < 0.3:
        y, x = (int(v) for v in rng.integers(0, len(mask) - 16, 2))
        out[y : y + 16, x : x + 16] = float(rng.random() < 0.3)
    soft = F.avg_pool2d(out[None, None], 5, 1, 2)[0, 0]
    return soft if rng.random() < 0.6 else out
