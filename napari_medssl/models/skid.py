"""The SKID trunk: nine branches, then skip and dimension-reduction blocks."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.errors import SettingsError
from napari_medssl.models.encoder import encoders
from napari_medssl.models.nine_branches import BRANCHES, NineBranches, centre_cells, convolution, scaled

SkidVersion: TypeAlias = Literal["v1", "v2", "v3", "noblocks"]

SKIP_SCALE = 0.25
"""Factor s of the skip block; the best of those tried (thesis 3.5.4.3)."""

_BRANCH, _REDUCED, _OUT = 256, 1024, 4096

# First convolution of skip 1, output of reduction 1, first convolution of skip 2 (thesis, Table 3.1).
_TABLE = {"v1": (512, 1024, 512), "v2": (512, 2048, 1024), "v3": (1024, 2048, 2048)}


class SkipBlock(nn.Module):
    """y = x + s F(x) with F two 3x3 convolutions, (B, C, H, W) to the same shape.

    The second convolution is normalised but not rectified, as in the residual networks the block is modelled on, so
    that it can also subtract; the thesis does not say (Fig. 3.5 c, 3.4.1.6).
    """

    def __init__(self, channels: int, middle: int, *, scale: float = SKIP_SCALE) -> None:
        super().__init__()
        self.scale = scale
        self.residual = nn.Sequential(*convolution(channels, middle), *convolution(middle, channels, rectify=False))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * cast(Tensor, self.residual(x))


class ReductionBlock(nn.Module):
    """(B, inputs, H, W) to (B, outputs, H / 2, W / 2) by strided convolutions beside average pooling, joined.

    Every convolution has outputs / 2 filters. The text says as many as input channels, which agrees for v3 and v2 but
    not with Table 3.1 for v1, and the parameter counts follow the table (thesis 3.4.1.6, Fig. 3.5 b; B3-19).
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.strided = nn.Sequential(*convolution(inputs, half), *convolution(half, half, stride=2))
        self.pooled = nn.Sequential(nn.AvgPool2d(2), *convolution(inputs, half, kernel=1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.strided(x), self.pooled(x)], 1)


@encoders.register("skid-trunk")
class SkidTrunk(nn.Module):
    """The SKID pretext network up to its second dimension reduction, as an encoder of slices with stride 16.

    Input (B, in_slices, H, W) in [0, 1], H and W multiples of 16; output (B, channels, H / 16, W / 16): the whole slice
    goes to all nine branches (B3-29; 256 x 256 gives 4096 x 16 x 16 at width 1). `patches` takes nine patches instead.

    version: "v1", "v2", "v3" of Table 3.1, or "noblocks" (skip blocks left out, reductions are average poolings).
    width: factor of all filters, 1 as published (212 M parameters for v3, 3.4 M at 1/8).
    channels: of the output; 0: 4096 times width, for "noblocks" 1024 times width.
    patch_mode: cut a slice into nine patches of `patch` pixels, one from the middle of each third (row by row), and
        give each branch its own: (B, channels, patch / 16, patch / 16). Cheap and close to what the branches were
        trained on; for pooled features only, because a feature cell then looks at nine places at once.
    input_size: side of the square for the slice frame.

    Source: thesis 3.4.1.4 to 3.4.1.6, Fig. 3.5, Table 3.1; S09, S10.
    """

    stride = 16

    def __init__(
        self, *, version: SkidVersion = "v3", in_slices: int = 3, width: float = 1.0, channels: int = 0,
        patch_mode: bool = False, patch: int = 64, input_size: int = 256,
    ) -> None:  # fmt: skip
        super().__init__()
        if version not in (*_TABLE, "noblocks"):
            raise SettingsError(f"no SKID version is called {version!r}; choose one of: {', '.join(_TABLE)}, noblocks")
        self.in_slices, self.input_size = in_slices, input_size
        self.patch_mode, self.patch = patch_mode, patch
        reduced = scaled(_REDUCED, width)
        if version == "noblocks":
            self.channels = reduced = channels or reduced
        else:
            self.channels = channels or scaled(_OUT, width)
        if self.channels % 2:
            raise SettingsError(f"channels is {self.channels}; it must be even, two halves are joined")
        self.config: dict[str, Any] = {
            "version": version, "in_slices": in_slices, "width": width, "channels": self.channels,
            "patch_mode": patch_mode, "patch": patch, "input_size": input_size,
        }  # fmt: skip
        branch = scaled(_BRANCH, width)
        self.branches = NineBranches(in_slices, (branch, branch))
        self.reduce = nn.Sequential(*convolution(self.branches.channels, reduced, kernel=1))
        self.body = _body(version, reduced, width, self.channels)

    def patches(self, patches: Tensor) -> Tensor:
        """(B, 9, in_slices, h, w) patches, the k-th to branch k, to (B, channels, h / 16, w / 16)."""
        out: Tensor = self.body(self.reduce(self.branches(patches.unbind(1))))
        return out

    def forward(self, slices: Tensor) -> Tensor:
        images = centre_cells(slices, self.patch) if self.patch_mode else [slices] * BRANCHES
        out: Tensor = self.body(self.reduce(self.branches(images)))
        return out


def _body(version: SkidVersion, inputs: int, width: float, outputs: int) -> nn.Module:
    if version == "noblocks":
        return _Halving()
    middle1, between, middle2 = (scaled(n, width) for n in _TABLE[version])
    return nn.Sequential(
        SkipBlock(inputs, middle1), ReductionBlock(inputs, between),
        SkipBlock(between, middle2), ReductionBlock(between, outputs),
    )  # fmt: skip


class _Halving(nn.Module):
    """Two 2x2 average poolings, which are one of 4x4."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 4)
