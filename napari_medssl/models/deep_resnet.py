"""A ResNet without the convolution that reduces its channels: 2048 features for ResNet-50 and ResNet-101."""

from __future__ import annotations

from typing import Any

from torch import nn

from napari_medssl.errors import SettingsError
from napari_medssl.models.resnet import DilatedResNet


def without_reduction(encoder: Any) -> Any:
    """The same encoder, changed in place, ending after its last stage: (B, channels, H / 8, W / 8).

    channels are 2048 for ResNet-50 and ResNet-101, 512 for ResNet-18. The downstream networks of thesis 4.5.2.2 stand
    on these features. Stages three and four are dilated here (stride 8 instead of 32), which changes no weight.

    Raises SettingsError for an encoder that is no ResNet of `models.resnet`.
    """
    if not isinstance(encoder, DilatedResNet):
        raise SettingsError(
            "only the encoders resnet18-s8, resnet50-s8 and resnet101-s8 have a last stage to end after"
        )
    encoder.channels = encoder.reduce.in_channels
    encoder.reduce = nn.Identity()  # type: ignore[assignment]  # was a convolution
    return encoder
