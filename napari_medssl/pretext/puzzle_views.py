"""A view of a slice, and a jigsaw puzzle of another view of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from napari_medssl.errors import SettingsError
from napari_medssl.pretext.patches import PATCHES, arrange, cut_patches
from napari_medssl.pretext.scan import Scan
from napari_medssl.pretext.task import Example
from napari_medssl.pretext.views2d import SliceViews


class PuzzleViews:
    """The task of PIRL: the image and its transformed version, nine patches in random order.

    views: draws two views of a slice; the second one is cut into 3 x 3 parts, from each of which a square of `patch`
    pixels is taken at a random place, so that patches cannot be joined by their edges. patch: at most a third of the
    view's side.

    A prepared batch has image (B, C, size, size) and patches (B, 9, C, patch, patch), float32 in [0, 1], and order
    (B, 9) int64: slot k holds the part order[k], counted in raster order.

    Source: Misra and van der Maaten, "Self-Supervised Learning of Pretext-Invariant Representations" (2020), section
    3.3: any of the 9! orders, drawn anew for every example.
    """

    def __init__(self, views: SliceViews, *, patch: int) -> None:
        room = views.size // 3 - patch
        if room < 0:
            raise SettingsError(
                f"patch is {patch}; it must be at most {views.size // 3}, a third of the slice's {views.size} pixels"
            )
        self.views, self.patch, self._room = views, patch, room

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        """What the views need, the order (9,) of the parts, and corner (9, 2), the top left y, x of each patch in its
        part."""
        order = torch.from_numpy(rng.permutation(PATCHES).astype(np.int64))
        corner = torch.from_numpy(rng.integers(0, self._room + 1, (PATCHES, 2)))
        return {**self.views.draw(scans, rng), "order": order, "corner": corner}

    def prepare(self, batch: Example) -> Example:
        """The first view, and the puzzle of the second."""
        rest = {name: value for name, value in batch.items() if name not in ("order", "corner")}
        views = self.views.prepare(rest)
        patches = _cropped(cut_patches(views["view2"]), batch["corner"], self.patch)
        return {"image": views["view1"], "patches": arrange(patches, batch["order"]), "order": batch["order"]}


def _cropped(parts: Tensor, corner: Tensor, size: int) -> Tensor:
    """(B, N, C, size, size) squares of (B, N, C, P, P) parts, their top left y, x at corner (B, N, 2)."""
    b, n, c, p, _ = parts.shape
    reach = torch.arange(size, device=parts.device)
    y, x = (corner[:, :, k, None] + reach for k in (0, 1))  # (B, N, size)
    rows = parts.gather(3, y[:, :, None, :, None].expand(b, n, c, size, p))
    return rows.gather(4, x[:, :, None, None, :].expand(b, n, c, size, size))
