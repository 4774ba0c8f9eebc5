"""A network that carries a mask from one slice to the next.

In the spirit of slice-to-slice propagation (Sli2Vol, Yeung et al. 2021, arXiv 2105.12722) and in-context segmentation
(UniverSeg, Butoi et al. 2023, arXiv 2304.06131): it sees the slice to label, its neighbours, the mask of the slice
before, and the slice the user labelled, all cropped around the organ. It knows no organ classes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from monai.networks.nets import BasicUNet
from torch import Tensor, nn

from napari_medssl.registry import Registry

propagators: Registry[Any] = Registry("propagator")

CHANNELS = 9
GUIDE_CHANNELS = 3
_BINS = 48
_COARSE = 40  # bins of a pixel and of its surroundings
_REACH = 4.0  # standardised intensities are clipped here


def build_propagator(name: str, **config: Any) -> nn.Module:
    """The registered propagator `name`, in eval mode, with untrained weights."""
    module: nn.Module = propagators[name](**config)
    return module.eval()


@propagators.register("crop-unet")
class CropPropagator(nn.Module):
    """2D U-Net on square crops; (B, C, S, S) from `assemble` to (B, S, S) foreground logits. S: multiple of 16.

    guided: it also sees an earlier opinion of the slice and of the one beyond, C is 11; otherwise C is 9.

    GroupNorm over several channels, because instance norm would erase the constant distance channels.
    """

    def __init__(
        self, *, features: tuple[int, ...] = (24, 32, 64, 96, 128, 24), crop_size: int = 96, guided: bool = False
    ) -> None:
        super().__init__()
        self.crop_size, self.guided = crop_size, guided
        self.config: dict[str, Any] = {"features": list(features), "crop_size": crop_size}
        if guided:
            self.config["guided"] = True
        self.net = BasicUNet(
            spatial_dims=2,
            in_channels=CHANNELS + GUIDE_CHANNELS * guided,
            out_channels=1,
            features=tuple(features),
            norm=("group", {"num_groups": 8}),
            act=("relu", {"inplace": True}),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.net(inputs)[:, 0]
        return logits


def assemble(
    *,
    target: Tensor,
    previous: Tensor,
    beyond: Tensor,
    previous_mask: Tensor,
    support: Tensor,
    support_mask: Tensor,
    gap_mm: Tensor,
    distance_mm: Tensor,
    guide: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Network input (B, 9, S, S) from (B, S, S) crops in [0, 1] and (B,) distances in mm; 11 channels with a guide.

    target: the slice to label; previous: the labelled neighbour it is reached from; beyond: the slice on the other
    side. Images are standardised by the support crop, so that windowing and scanner gain do not matter; a channel
    with the organ's intensity posterior, measured on the support slice, is added. guide: an earlier probability of the
    organ on the target and on the slice beyond; 0.5 says that nothing is known.
    """
    mean = support.mean((1, 2), keepdim=True)
    deviation = support.std((1, 2), keepdim=True).clamp(min=0.02)
    images = [((x - mean) / deviation).clamp(-_REACH, _REACH) for x in (target, previous, beyond, support)]
    posterior = intensity_posterior(images[0], images[3], support_mask)
    plane = torch.ones_like(target)
    gap = plane * (gap_mm / 10).clamp(max=2)[:, None, None]
    distance = plane * (distance_mm / 100).clamp(max=3)[:, None, None]
    stack = [*images[:3], 2 * previous_mask - 1, images[3], 2 * support_mask - 1, 2 * posterior - 1, gap, distance]
    if guide is not None:
        stack += [2 * g - 1 for g in guide]
        stack.append(2 * texture_posterior(images[0], images[3], support_mask) - 1)
    return torch.stack(stack, 1)


def intensity_posterior(image: Tensor, support: Tensor, mask: Tensor) -> Tensor:
    """P(organ | intensity) for each pixel of `image`, equal priors, from the smoothed histograms of the support.

    image, support: (B, S, S) standardised. mask: (B, S, S) in [0, 1]. Returns (B, S, S) in [0, 1].
    """
    inside = _histogram(support, mask)
    outside = _histogram(support, 1 - mask)
    table = inside / (inside + outside + 1e-6)
    index = _bin(image)
    return table.gather(1, index.flatten(1)).view_as(image)


def texture_posterior(image: Tensor, support: Tensor, mask: Tensor) -> Tensor:
    """P(organ | intensity, that of the surroundings) for each pixel, equal priors; shapes as `intensity_posterior`.

    The joint histogram of a pixel and of its blurred surroundings tells a noisy organ from a noisy background, where
    single pixels do not.
    """
    pairs = [_coarse_bin(x) * _COARSE + _coarse_bin(_surroundings(x)) for x in (image, support)]
    inside, outside = (_joint_histogram(pairs[1], weight) for weight in (mask, 1 - mask))
    table = inside / (inside + outside)
    return table.gather(1, pairs[0].flatten(1)).view_as(image)


def _surroundings(x: Tensor) -> Tensor:
    return F.avg_pool2d(F.avg_pool2d(x[:, None], 5, 1, 2, count_include_pad=False), 3, 1, 1, count_include_pad=False)[
        :, 0
    ]


def _coarse_bin(x: Tensor) -> Tensor:
    return ((x + _REACH) / (2 * _REACH) * (_COARSE - 1)).round().long().clamp(0, _COARSE - 1)


def _joint_histogram(pairs: Tensor, weight: Tensor) -> Tensor:
    flat = torch.zeros(len(pairs), _COARSE**2, dtype=weight.dtype, device=weight.device)
    flat.scatter_add_(1, pairs.flatten(1), weight.flatten(1))
    square = flat.view(-1, 1, _COARSE, _COARSE)
    for _ in range(2):
        square = F.avg_pool2d(F.pad(square, (1, 1, 1, 1), mode="replicate"), 3, 1)
    smooth = square.flatten(1)
    return smooth / smooth.sum(1, keepdim=True).clamp(min=1e-6) + 1e-5


def _bin(x: Tensor) -> Tensor:
    return ((x + _REACH) / (2 * _REACH) * (_BINS - 1)).round().long().clamp(0, _BINS - 1)


def _histogram(x: Tensor, weight: Tensor) -> Tensor:
    flat = torch.zeros(len(x), _BINS, dtype=x.dtype, device=x.device)
    flat.scatter_add_(1, _bin(x).flatten(1), weight.flatten(1))
    kernel = x.new_tensor([0.05, 0.25, 0.4, 0.25, 0.05]).view(1, 1, 5)
    smooth = F.conv1d(F.pad(flat[:, None], (2, 2), mode="replicate"), kernel)[:, 0] + 1e-4
    return smooth / smooth.sum(1, keepdim=True)


def crop_grid(boxes: Tensor, size: int, shape_yx: tuple[int, int]) -> Tensor:
    """Sampling grid (B, size, size, 2) for `grid_sample` of square boxes in a slice.

    boxes: (B, 3) centre y, centre x and side in pixels, pixel centres at whole numbers.
    """
    step = (torch.arange(size, device=boxes.device, dtype=boxes.dtype) + 0.5) / size - 0.5
    ys = boxes[:, :1] + boxes[:, 2:] * step
    xs = boxes[:, 1:2] + boxes[:, 2:] * step
    height, width = shape_yx
    gy = (2 * ys + 1) / height - 1
    gx = (2 * xs + 1) / width - 1
    b = len(boxes)
    return torch.stack([gx[:, None, :].expand(b, size, size), gy[:, :, None].expand(b, size, size)], -1)


def paste_grid(boxes: Tensor, shape_yx: tuple[int, int]) -> Tensor:
    """Sampling grid (B, Y, X, 2) that puts crops of `boxes` back into whole slices; outside the box is > 1."""
    height, width = shape_yx
    ys = torch.arange(height, device=boxes.device, dtype=boxes.dtype)
    xs = torch.arange(width, device=boxes.device, dtype=boxes.dtype)
    gy = 2 * (ys[None] - boxes[:, :1]) / boxes[:, 2:]
    gx = 2 * (xs[None] - boxes[:, 1:2]) / boxes[:, 2:]
    b = len(boxes)
    return torch.stack([gx[:, None, :].expand(b, height, width), gy[:, :, None].expand(b, height, width)], -1)
