"""Prototypes: feature vectors that stand for the inside and the outside of an organ on labelled slices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.errors import SupportError
from napari_medssl.oneshot.prototype_settings import PrototypeSettings, ThresholdMode, window_cells


@dataclass(frozen=True)
class Prototypes:
    """Feature vectors of one organ, neither centred nor normalised.

    foreground: (P, D), at least one row. background: (Q, D), at least one row.
    """

    foreground: Tensor
    background: Tensor


def extract_prototypes(
    features: Tensor,
    masks: Tensor,
    settings: PrototypeSettings | None = None,
    *,
    mode: ThresholdMode = "fixed",
    stride: int = 8,
) -> Prototypes:
    """Local prototypes of both sides and one global foreground prototype per labelled slice, over all slices.

    features: (N, D, h, w), any floating type. masks: (N, H, W) in {0, 1} or coverage in [0, 1], at image resolution,
    over the same square as the features.
    mode: threshold on the pooled mask (`threshold_mode` gives it for an organ). stride: image pixels per cell.

    The mask is resized to the grid (bilinear), then mask and features are averaged over the same windows, and the
    features of the cells that pass the threshold are the local prototypes. Several slices give the union of what
    each gives alone. A slice without the organ gives background only.

    Source: thesis 7.4.1.3. The text pools a 256-pixel mask with a 4 x 4 window and compares it with a 32 x 32 grid,
    which does not fit (256 / 4 = 64); the resize before pooling follows the authors' public code (B7-01).

    Raises SupportError when no slice holds the organ.
    """
    settings = settings or PrototypeSettings()
    if len(features) != len(masks):
        raise ValueError(f"{len(features)} feature maps for {len(masks)} masks; give one mask per labelled slice")
    window = window_cells(settings, stride)
    foreground, background = [], []
    for grid, mask in zip(features.float(), masks, strict=True):
        inside = mask_on_grid(mask, (grid.shape[-2], grid.shape[-1]))
        foreground += _foreground(grid, inside, window, settings, mode)
        background += _background(grid, 1.0 - inside, window, settings, mode)
    if not foreground:
        raise SupportError("the organ is on none of the labelled slices; paint it on at least one of them")
    if not background:
        raise SupportError("the organ covers its labelled slices completely; leave some background beside it")
    return Prototypes(torch.cat(foreground), torch.cat(background))


def mask_on_grid(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """(H, W) mask as float32 coverage on a feature grid (h, w).

    Plain bilinear sampling as published. It looks at 4 pixels per cell only, so an organ of a few pixels may vanish;
    then, and only then, the covered area of each cell is taken instead.
    """
    image = mask.to(torch.float32)[None, None]
    small = F.interpolate(image, size=size, mode="bilinear", align_corners=False)[0, 0]
    if small.sum() > 0 or not bool(image.any()):
        return small
    return F.adaptive_avg_pool2d(image, size)[0, 0]


def global_prototype(grid: Tensor, share: Tensor) -> Tensor:
    """(1, D) mean of (D, h, w) features weighted by the (h, w) mask share; the mask must not be empty."""
    return ((grid * share).sum((1, 2)) / share.sum())[None]


def pool_cells(grid: Tensor, share: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Average features (D, h, w) and mask share (h, w) over windows: ((cells, D), (cells,)).

    At the right and lower edge a window is cut where the grid ends.
    """
    window = min(window, *grid.shape[-2:])
    both = torch.cat([grid, share[None].to(grid.dtype)])[None]
    pooled = F.avg_pool2d(both, window, ceil_mode=True, count_include_pad=False)[0].flatten(1)
    return pooled[:-1].T, pooled[-1]


def foreground_threshold(share: Tensor, settings: PrototypeSettings, mode: ThresholdMode) -> Tensor:
    """The mask share a cell must exceed to be a foreground prototype: fixed, or 0.8 of the fullest cell."""
    if mode == "dynamic":
        return settings.dynamic_fraction * share.max()
    return share.new_tensor(settings.fixed_threshold)


def background_threshold(share: Tensor, settings: PrototypeSettings, mode: ThresholdMode) -> Tensor:
    """The background share a cell must exceed to be a background prototype: fixed, or the mean share."""
    return share.mean() if mode == "dynamic" else share.new_tensor(settings.fixed_threshold)


def _foreground(
    grid: Tensor, inside: Tensor, window: int, settings: PrototypeSettings, mode: ThresholdMode
) -> list[Tensor]:
    if not inside.sum() > 0:
        return []
    cells, share = pool_cells(grid, inside, window)
    return [cells[share > foreground_threshold(share, settings, mode)], global_prototype(grid, inside)]


def _background(
    grid: Tensor, outside: Tensor, window: int, settings: PrototypeSettings, mode: ThresholdMode
) -> list[Tensor]:
    # No global background prototype (B7-10) unless no cell passes. With nothing but background the dynamic threshold
    # equals every share, so cells that reach it count before that fallback (B7-11).
    if not outside.sum() > 0:
        return []
    cells, share = pool_cells(grid, outside, window)
    threshold = background_threshold(share, settings, mode)
    for passed in (share > threshold, share >= threshold):
        if passed.any():
            return [cells[passed]]
    return [global_prototype(grid, outside)]
