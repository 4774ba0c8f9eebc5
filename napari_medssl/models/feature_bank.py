"""An encoder without training: what the neighbourhood of a pixel looks like, at several scales, by fixed filters."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.models.encoder import encoders
from napari_medssl.models.slice_encoder import body_coordinates

_BINS = 8  # of the intensity histograms; more make equal tissues differ by their noise
_SCALES = (0.0, 1.0, 2.0, 4.0)  # Gaussian deviations in feature cells; 0 is the cell itself
_PLACES = 6  # position is told by bumps at this many places along each axis
_EDGE_SIGMA = 1.0  # pixels; smoothing before the gradient
_TEXTURE, _BESIDE = 2.0, 0.5  # weights of groups beside the intensity's 1; the result is flat around these


@encoders.register("feature-bank")
class FeatureBank(nn.Module):
    """Local intensity histograms, edges, texture and position; no weights to load.

    Input (B, in_slices, H, W) in [0, 1], H and W multiples of `stride`; output (B, channels, H / stride, W / stride).

    channels: None for the bank's own number; more embeds it without changing any angle between (centred) vectors, fewer
        projects it on fixed random directions, at a price: 57 to 32 channels cost 0.035 Dice in the trial below.
    stride: input pixels per feature cell.
    position: weight of the position in the body; 0 leaves it out.
    neighbours: with in_slices above 1 the neighbouring slices' histograms (mean over them) are a group of their own.

    Prototypes are compared by the angle between vectors, so intensity enters as a soft histogram (a bump per bin)
    instead of one number: vectors of equal tissues point the same way, those of others do not. Each group (intensity,
    texture, neighbours, position) is divided by the root of its number of channels, and is not standardised over the
    slice: that made equal tissue differ between slices with more and with less air, and on three CHAOS T2 scans
    lowered the mean Dice of the prototype path over whole volumes from 0.64 to below 0.5.
    """

    def __init__(
        self,
        *,
        in_slices: int = 1,
        channels: int | None = None,
        stride: int = 4,
        position: float = 1.0,
        input_size: int = 256,
    ) -> None:
        super().__init__()
        if in_slices < 1 or in_slices % 2 == 0:
            raise ValueError(f"in_slices is {in_slices}; it must be odd, the middle slice is the one encoded")
        natural = _natural_channels(in_slices, position)
        self.in_slices, self.stride, self.input_size = in_slices, stride, input_size
        self.channels = natural if channels is None else channels
        self.position = position
        self.config: dict[str, Any] = {
            "in_slices": in_slices, "channels": channels, "stride": stride, "position": position,
            "input_size": input_size,
        }  # fmt: skip
        self.register_buffer("bins", torch.linspace(0, 1, _BINS))
        self.register_buffer("projection", _projection(self.channels, natural))
        self.bins: Tensor
        self.projection: Tensor

    def forward(self, slices: Tensor) -> Tensor:
        middle = self.in_slices // 2
        image = slices[:, middle]
        groups = [(1.0, _blurred(self._histogram(image), _SCALES)), (_TEXTURE, _texture(image, self.stride))]
        if self.in_slices > 1:
            beside = [self._histogram(slices[:, i]) for i in range(self.in_slices) if i != middle]
            groups.append((_BESIDE, _blurred(torch.stack(beside).mean(0), _SCALES[1:3])))
        if self.position:
            groups.append((self.position, _places(image, self.stride)))
        bank = torch.cat([weight / group.shape[1] ** 0.5 * group for weight, group in groups], 1)
        return torch.einsum("kc,bchw->bkhw", self.projection.to(bank.dtype), bank)

    def _histogram(self, image: Tensor) -> Tensor:
        """(B, H, W) in [0, 1] to (B, bins, h, w): how much of each cell lies near each bin's intensity."""
        distance = (image[:, None] - self.bins[:, None, None].to(image.dtype)) * (_BINS - 1)
        return F.avg_pool2d(torch.exp(-0.5 * distance.square()), self.stride)


def _texture(image: Tensor, stride: int) -> Tensor:
    """(B, H, W) to (B, 13, h, w): deviation and edge strength at several scales, and which way intensity grows."""
    cells = F.avg_pool2d(torch.stack([image, image.square()], 1), stride)
    moments = _blurred(cells, _SCALES[1:])  # scale by scale: mean, mean of squares
    mean, squares = moments[:, ::2], moments[:, 1::2]
    deviation = (squares - mean.square()).clamp_min(0).sqrt()
    slope = F.avg_pool2d(_gradient(image), stride)
    strength = F.avg_pool2d(_gradient(image).square().sum(1, keepdim=True).sqrt(), stride)
    return torch.cat([deviation, _blurred(strength, _SCALES), _blurred(slope, _SCALES[1:])], 1)


def _gradient(image: Tensor) -> Tensor:
    """(B, H, W) to (B, 2, H, W) central differences along y and x of the slightly smoothed image."""
    smooth = F.pad(_blur(image[:, None], _EDGE_SIGMA), (1, 1, 1, 1), mode="replicate")
    y = smooth[:, :, 2:, 1:-1] - smooth[:, :, :-2, 1:-1]
    x = smooth[:, :, 1:-1, 2:] - smooth[:, :, 1:-1, :-2]
    return torch.cat([y, x], 1)


def _places(image: Tensor, stride: int) -> Tensor:
    """(B, H, W) to (B, 2 x places, h, w): bumps along the body coordinates y and x."""
    at = F.avg_pool2d(body_coordinates(image), stride)  # (B, 2, h, w) in [-1, 1]
    centres = torch.linspace(-1, 1, _PLACES, device=image.device, dtype=image.dtype)
    bumps = torch.exp(-0.5 * ((at[:, :, None] - centres[:, None, None]) * (_PLACES - 1) / 2).square())
    return bumps.flatten(1, 2)


def _blurred(maps: Tensor, scales: tuple[float, ...]) -> Tensor:
    """(B, C, h, w) to (B, scales x C, h, w): Gaussian blurs, scale by scale."""
    return torch.cat([_blur(maps, sigma) for sigma in scales], 1)


def _blur(maps: Tensor, sigma: float) -> Tensor:
    """Gaussian blur, edges repeated; sigma in cells of `maps`. Narrow grids get a shorter filter."""
    if sigma == 0:
        return maps
    for axis in (2, 3):
        radius = min(int(3 * sigma + 0.5), max(maps.shape[axis] - 1, 0))
        offsets = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
        weights = torch.exp(-0.5 * (offsets / sigma).square())
        shape = (1, 1, -1, 1) if axis == 2 else (1, 1, 1, -1)
        kernel = (weights / weights.sum()).view(shape).expand(maps.shape[1], *shape[1:])
        pad = (0, 0, radius, radius) if axis == 2 else (radius, radius, 0, 0)
        maps = F.conv2d(F.pad(maps, pad, mode="replicate"), kernel, groups=maps.shape[1])
    return maps


def _natural_channels(in_slices: int, position: float) -> int:
    histogram, texture = _BINS * len(_SCALES), 13
    return histogram + texture + (2 * _BINS if in_slices > 1 else 0) + (2 * _PLACES if position else 0)


def _projection(channels: int, natural: int) -> Tensor:
    """(channels, natural) isometry, or orthonormal projection when fewer; the identity when the numbers are equal.

    The mean over channels goes to the mean over channels, so that centring a vector, as prototypes are, commutes with
    it.
    """
    if channels == natural:
        return torch.eye(natural)
    kept = min(channels, natural)
    return (_basis(channels)[:, :kept] @ _basis(natural)[:, :kept].T).float()


def _basis(n: int) -> Tensor:
    """(n, n) float64 orthonormal columns, the first one constant and positive, the others fixed random directions."""
    columns = torch.randn(n, n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    columns[:, 0] = 1.0
    q: Tensor = torch.linalg.qr(columns).Q
    return q * q[0, 0].sign()
