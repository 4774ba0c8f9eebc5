"""Whether a map shows what the network uses: deletion and insertion curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from napari_medssl.classify.explain.explain import device_of, found_maps
from napari_medssl.classify.explain.modes import looking
from napari_medssl.classify.explain.settings import ExplainSettings
from napari_medssl.classify.explain.shown import Shown
from napari_medssl.errors import SettingsError
from napari_medssl.progress import Progress, Steps, finish

_BLUR = 0.05  # of the longest side: deviation of what an insertion starts from; organs are no longer told apart
_PARTS = 20


@dataclass(frozen=True)
class Faithfulness:
    """Curves of a class's probability while pixels are taken away or put in, the most important first.

    share: (n,) of the pixels changed, 0 to 1. deletion, insertion: (n,) mean probability over the slices.
    random_deletion, random_insertion: the same with blocks of pixels in random order.
    """

    share: npt.NDArray[np.float64]
    deletion: npt.NDArray[np.float64]
    insertion: npt.NDArray[np.float64]
    random_deletion: npt.NDArray[np.float64]
    random_insertion: npt.NDArray[np.float64]

    def facts(self) -> dict[str, Any]:
        """Areas under the curves; a faithful map deletes below random and inserts above."""
        return {
            name: round(_area(getattr(self, name)), 4)
            for name in ("deletion", "random_deletion", "insertion", "random_insertion")
        }


def _area(curve: npt.NDArray[np.float64]) -> float:
    """Under a curve over [0, 1] at even distances."""
    return float(np.mean((curve[1:] + curve[:-1]) / 2))


def faithfulness(model: nn.Module, shown: Shown, **options: Any) -> Faithfulness:
    """`faithfulness_steps` run to the end."""
    return finish(faithfulness_steps(model, shown, **options))


def faithfulness_steps(
    model: nn.Module, shown: Shown, *, target: int, settings: ExplainSettings | None = None,
    one_of: bool = False, seed: int = 0,
) -> Steps[Faithfulness]:  # fmt: skip
    """Deletion and insertion curves of the maps of some slices.

    shown: slices that show the class; a curve on others says nothing. one_of: classes exclude each other (softmax);
    otherwise each is judged by itself (sigmoid).

    Deleted pixels become the mean of the slice (darkness would itself look like something, air); an insertion starts
    from the blurred slice. Cells that are 0 come last, in random order. Random curves move blocks of the size of the
    map's cells, so that they differ in the order alone.

    Raises SettingsError for inputs that are no slices. Cost: 84 passes per slice.

    Source: Petsiuk et al., RISE (2018), sections 4.2. Mean instead of black, 20 steps and the random curve are ours.
    """
    settings = settings or ExplainSettings()
    if shown.bags or not shown.slices:
        raise SettingsError("deletion and insertion are measured on single slices; give a network of slices")
    _, maps = yield from found_maps(model, shown, target, settings)
    rng = np.random.default_rng(seed)
    curves: list[list[npt.NDArray[np.float64]]] = []
    for n in range(shown.count):
        yield Progress(n, shown.count, "taking pixels away")
        shown.before(range(n, n + 1))
        image = shown.inputs(range(n, n + 1))
        jitter = rng.random(maps.shape[1:])
        orders = [_order(maps[n].numpy() + 1e-9 * jitter * float(maps[n].max() or 1), image), _order(jitter, image)]
        curves.append([_curve(model, image, o, target, one_of, insert=i) for o in orders for i in (False, True)])
    deletion, insertion, random_deletion, random_insertion = np.mean(curves, 0)
    return Faithfulness(np.linspace(0, 1, _PARTS + 1), deletion, insertion, random_deletion, random_insertion)


def _order(cells: npt.NDArray[Any], image: Tensor) -> Tensor:
    """(H, W) int64: when each pixel's turn comes, from 0; pixels of a cell follow each other."""
    large = F.interpolate(torch.from_numpy(cells)[None, None].double(), size=image.shape[2:], mode="nearest")[0, 0]
    turn = torch.empty(large.numel(), dtype=torch.long)
    turn[large.flatten().argsort(descending=True, stable=True)] = torch.arange(large.numel())
    return turn.view(large.shape)


def _curve(
    model: nn.Module, image: Tensor, turn: Tensor, target: int, one_of: bool, *, insert: bool
) -> npt.NDArray[np.float64]:
    """(21,) probabilities after each twentieth of the pixels."""
    limits = torch.linspace(0, turn.numel(), _PARTS + 1).round().long()
    changed = turn[None] < limits[:, None, None]  # (21, H, W)
    if insert:
        sides = (0, 0, *(_BLUR * max(image.shape[2:]),) * 2)
        start, end = torch.from_numpy(gaussian_filter(image.numpy(), sides)), image
    else:
        start, end = image, image.mean((2, 3), keepdim=True).expand_as(image)
    images = torch.where(changed[:, None], end, start)
    with looking(model), torch.inference_mode():
        scores = torch.cat([model(part).double().cpu() for part in torch.split(images.to(device_of(model)), 8)])
    probability = scores.softmax(1) if one_of else scores.sigmoid()
    return probability[:, target].numpy()
