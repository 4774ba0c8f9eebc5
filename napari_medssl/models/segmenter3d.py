"""The 3D U-Net as a segmentation network: what pretrained parts are carried over into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.models.bundle import load_bundle, load_module
from napari_medssl.models.encoder3d import build_encoder3d
from napari_medssl.models.unet3d import Norm, UNet3dDecoder, UNet3dEncoder

ROLE = "segmenter3d"
NAME = "unet3d"


class Segmenter3d(nn.Module):
    """Encoder and decoder of the 3D U-Net: (B, in_channels, Z, Y, X) to (B, classes, Z, Y, X) logits.

    classes: with the background. skip: whether the decoder sees the finer grids of the encoder. width, norm,
    in_channels: as `UNet3dEncoder`. Sides are multiples of 8.

    Raises SettingsError for fewer than two classes.
    """

    def __init__(
        self, *, classes: int, skip: bool = True, in_channels: int = 1, width: float = 1.0, norm: Norm = "batch"
    ) -> None:
        super().__init__()
        if classes < 2:
            raise SettingsError(f"a segmentation has 2 classes or more, the background being one; got {classes}")
        encoder = build_encoder3d(NAME, in_channels=in_channels, width=width, norm=norm).train()
        assert isinstance(encoder, UNet3dEncoder)
        self.encoder = encoder
        self.decoder = UNet3dDecoder(encoder, classes, skip=skip)
        self.config: dict[str, Any] = {"classes": classes, "skip": skip, **encoder.config}

    def forward(self, volume: Tensor) -> Tensor:
        logits: Tensor = self.decoder(self.encoder.stages(volume))
        return logits


def load_segmenter(path: Path) -> Segmenter3d:
    """The network of a file that `medssl inspect transfer --out` has written, in eval mode on the CPU.

    Raises WeightsError when it holds none or is damaged.
    """
    bundle = load_bundle(path)
    if ROLE not in bundle.modules:
        raise WeightsError(f"{path} holds no segmentation network, only: {', '.join(bundle.modules) or 'nothing'}")
    try:
        network = Segmenter3d(**bundle.modules[ROLE]["config"])
    except (KeyError, TypeError, SettingsError) as error:
        raise WeightsError(f"the network of {path} cannot be built from its description: {error}") from error
    load_module(network, bundle.state(ROLE), "segmentation network")
    return network
