"""A volume encoder asked slice by slice: what it sees is a slab around the slice."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class SlabEncoder(nn.Module):
    """A volume encoder behind the face of a slice encoder, so that both are judged alike.

    Input (B, in_slices, H, W): the slices of a slab as channels, the one in question in the middle. Output
    (B, channels, H / stride, W / stride): the deepest features, averaged along z.

    thickness: slices of the slab, a multiple of the encoder's stride.
    """

    def __init__(self, inner: Any, *, thickness: int = 16) -> None:
        super().__init__()
        self.inner = inner
        self.in_slices, self.channels, self.stride = thickness, int(inner.channels), int(inner.stride)
        self.config: dict[str, Any] = dict(inner.config)

    def forward(self, slices: Tensor) -> Tensor:
        features: Tensor = self.inner(slices[:, None])  # (B, 1, Z, H, W) to (B, C, Z / s, H / s, W / s)
        return features.mean(2)
