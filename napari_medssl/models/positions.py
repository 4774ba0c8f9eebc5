"""Fixed position codes: sines and cosines of where a cell lies in its grid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_LONGEST = 10_000.0  # wavelength over 2 pi, in cells (Vaswani et al., 2017)


def sine_positions(
    grid: Sequence[int], trained: Sequence[int], channels: int, *, device: torch.device | None = None
) -> Tensor:
    """(cells, channels) float32 codes of the cells of `grid`, last axis fastest.

    trained: the grid that the codes mean: a finer or coarser grid of the same field of view gets the codes in between.
    Every axis has an equal share of the channels, half sines and half cosines; channels left over are 0.

    Source: He et al., 2022 (fixed two-dimensional codes), here for any number of axes. Codes in between are computed,
    not interpolated from a table.
    """
    count = channels // (2 * len(grid))
    frequencies = _LONGEST ** -(torch.arange(count, device=device) / max(1, count))
    places = [(torch.arange(n, device=device) + 0.5) * (t / n) - 0.5 for n, t in zip(grid, trained, strict=True)]
    mesh = torch.stack(torch.meshgrid(*places, indexing="ij"), -1).reshape(-1, len(grid))
    angles = (mesh[:, :, None] * frequencies).flatten(1)
    codes = torch.cat([angles.sin(), angles.cos()], 1)
    return torch.nn.functional.pad(codes, (0, channels - codes.shape[1]))
