"""Two earlier ways to use prototypes, on the same features: one global vector, and the best local one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_medssl.errors import SupportError
from napari_medssl.oneshot.prototype_settings import PrototypeSettings
from napari_medssl.oneshot.prototypes import Prototypes, global_prototype, mask_on_grid


def global_prototypes(features: Tensor, masks: Tensor) -> Prototypes:
    """One foreground and one background vector, averaged over labelled slices: ((1, D), (1, D)).

    features: (N, D, h, w). masks: (N, H, W) at image resolution.

    Source: PANet (Wang et al., 2019), masked average pooling; slices count equally. Slices without the organ give
    background only. PANet enlarges the features to the mask's size; here the mask goes to the features' size, as in
    the other methods, so that all three see the same mask.

    Raises SupportError when no slice holds the organ, or none holds background.
    """
    sides: tuple[list[Tensor], list[Tensor]] = ([], [])
    for grid, mask in zip(features.float(), masks, strict=True):
        inside = mask_on_grid(mask, (grid.shape[-2], grid.shape[-1]))
        for side, share in zip(sides, (inside, 1.0 - inside), strict=True):
            if share.sum() > 0:
                side.append(global_prototype(grid, share))
    if not sides[0] or not sides[1]:
        what = "organ" if not sides[0] else "background"
        raise SupportError(f"no labelled slice has any {what}; paint the organ on a part of at least one slice")
    foreground, background = (torch.cat(side).mean(0, keepdim=True) for side in sides)
    return Prototypes(foreground, background)


def best_prototype_scores(query: Tensor, prototypes: Tensor, settings: PrototypeSettings) -> Tensor:
    """Cosine to the most similar prototype: (M, D) query vectors and (P, D) prototypes to (M,).

    Source: after ALPNet (Ouyang et al., 2020). Vectors are not centred. ALPNet weighs similarities by their own
    softmax; here the best one decides alone (requirement F-037), which is the limit of that for a sharp softmax and
    isolates what aggregation adds.
    With a single prototype per side this is PANet's score.
    """
    similarity = F.normalize(query, dim=1, eps=settings.eps) @ F.normalize(prototypes, dim=1, eps=settings.eps).T
    return similarity.amax(1)
