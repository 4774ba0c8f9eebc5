"""A vision transformer as encoder: of slices ("vit") and of volumes ("vit3d")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor, nn

from napari_medssl.errors import SettingsError
from napari_medssl.models.encoder import encoders
from napari_medssl.models.encoder3d import check_grid, volume_encoders
from napari_medssl.models.positions import sine_positions

_HEAD = 64  # channels of an attention head in the published models
_MLP = 4  # width of the hidden layer over that of a token


class PatchTransformer(nn.Module):
    """Patches to tokens, transformer blocks, tokens back on their grid; in two or three dimensions.

    Input (B, inputs, *sides) in [0, 1], sides multiples of `patch`; output (B, channels, *sides / patch). Sides need
    not be those of training: positions are scaled to the grid of `size`.

    inputs: channels of the input. patch: side of a square or cubic patch. size: sides of the input it is trained on.
    channels: length of a token. depth: number of blocks. heads: 0 for one per 64 channels.
    config: what the registered factory needs to build it again.

    `visible` encodes some of the patches alone, as masked autoencoding needs it.

    Source: Dosovitskiy et al., 2021; He et al., 2022 (fixed position codes, first weights). Ours: no class token, for
    what is used afterwards is the grid or its mean.
    """

    def __init__(
        self, inputs: int, *, patch: int, size: Sequence[int], channels: int, depth: int, heads: int,
        config: dict[str, Any],
    ) -> None:  # fmt: skip
        super().__init__()
        self.in_slices = self.in_channels = inputs
        self.channels, self.stride, self.config = channels, patch, config
        self.size = tuple(size)
        self.input_size = self.size[-1]
        if any(s <= 0 or s % patch for s in self.size):
            sides = " x ".join(map(str, self.size))
            raise SettingsError(f"patches of {patch} do not tile the input of {sides}; choose a patch that divides it")
        kind = nn.Conv2d if len(self.size) == 2 else nn.Conv3d
        self.embed = kind(inputs, channels, patch, patch)
        nn.init.xavier_uniform_(self.embed.weight.view(channels, -1))
        self.blocks = nn.ModuleList(transformer_blocks(channels, depth, heads))
        self.norm = nn.LayerNorm(channels)

    def grid(self, image: Tensor) -> tuple[int, ...]:
        """Cells along each axis."""
        return tuple(side // self.stride for side in image.shape[2:])

    def visible(self, image: Tensor, visible: Tensor) -> Tensor:
        """(B, V, channels) tokens of the patches numbered by (B, V) int64 `visible`; the others are never looked at.

        Patches are numbered along the grid, last axis fastest.
        """
        tokens = self._tokens(image)
        tokens = tokens.gather(1, visible[:, :, None].expand(-1, -1, self.channels))
        for block in self.blocks:
            tokens = block(tokens)
        return cast(Tensor, self.norm(tokens))

    def stages(self, image: Tensor) -> list[Tensor]:
        """The grids after each quarter of the blocks, all of one size; the last is what a call gives."""
        ends = [max(1, round(len(self.blocks) * quarter / 4)) for quarter in (1, 2, 3, 4)]
        found, tokens = {}, self._tokens(image)
        for number, block in enumerate(self.blocks, start=1):
            found[number] = tokens = block(tokens)
        found[len(self.blocks)] = self.norm(tokens)
        return [found[end].transpose(1, 2).unflatten(2, self.grid(image)) for end in ends]

    def forward(self, image: Tensor) -> Tensor:
        return self.stages(image)[-1]

    def _tokens(self, image: Tensor) -> Tensor:
        check_grid(image, self.stride)
        tokens = self.embed(image - 0.5).flatten(2).transpose(1, 2)
        trained = [s // self.stride for s in self.size]
        codes = sine_positions(self.grid(image), trained, self.channels, device=image.device)
        return cast(Tensor, tokens + codes.to(tokens.dtype))


def transformer_blocks(channels: int, depth: int, heads: int = 0) -> list[nn.Module]:
    """`depth` blocks on (B, N, channels) tokens: normalisation first, attention, then an MLP four times as wide.

    heads: 0 for one per 64 channels. Raises SettingsError when the heads do not share the channels evenly.
    """
    heads = heads or max(1, channels // _HEAD)
    if depth < 1 or channels % heads:
        raise SettingsError(
            f"a transformer of {depth} blocks and {channels} channels in {heads} heads cannot be built; "
            "give at least one block, and channels that are a multiple of the heads"
        )
    blocks = [
        nn.TransformerEncoderLayer(
            channels, heads, _MLP * channels, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        for _ in range(depth)
    ]
    for block in blocks:
        for layer in (block.linear1, block.linear2):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return list(blocks)


@encoders.register("vit")
def slice_transformer(
    *, in_slices: int = 3, channels: int = 192, depth: int = 12, heads: int = 0, patch: int = 8, input_size: int = 192
) -> PatchTransformer:
    """Of slices; 5.4 M parameters by default (ViT-Tiny). ViT-Base is channels 768, patch 16 (85.6 M)."""
    config = {
        "in_slices": in_slices, "channels": channels, "depth": depth, "heads": heads, "patch": patch,
        "input_size": input_size,
    }  # fmt: skip
    return PatchTransformer(
        in_slices,
        patch=patch,
        size=(input_size, input_size),
        channels=channels,
        depth=depth,
        heads=heads,
        config=config,
    )


@volume_encoders.register("vit3d")
def volume_transformer(
    *, in_channels: int = 1, channels: int = 192, depth: int = 12, heads: int = 0, patch: int = 8,
    size: Sequence[int] = (32, 64, 64),
) -> PatchTransformer:  # fmt: skip
    """Of volumes; size: voxels along z, y and x of the crops it is trained on."""
    config = {
        "in_channels": in_channels, "channels": channels, "depth": depth, "heads": heads, "patch": patch,
        "size": list(size),
    }  # fmt: skip
    return PatchTransformer(
        in_channels, patch=patch, size=size, channels=channels, depth=depth, heads=heads, config=config
    )
