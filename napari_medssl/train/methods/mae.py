"""Masked image modelling of slices and volumes: masked autoencoders, and the same task for convolutional encoders."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torch import nn

from napari_medssl.losses.reconstruction import masked_l1, masked_mse
from napari_medssl.models.encoder3d import build_encoder3d
from napari_medssl.models.masked_autoencoder import MaskedAutoencoder, MaskedImageModel
from napari_medssl.models.vit import PatchTransformer
from napari_medssl.pretext.masking import LEAST_RATIO, MOST_RATIO, RATIO, MaskedCrops, MaskedSlices, Masking
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.slice_encoder import chosen_encoder
from napari_medssl.train.methods.ingredients.volumes import VolumeSettings, volume_encoder
from napari_medssl.train.objectives.restore import RestoreObjective
from napari_medssl.train.run_settings import OptimSettings, RunSettings

LossName: TypeAlias = Literal["mse", "l1"]

_LOSSES = {"mse": masked_mse, "l1": masked_l1}

_RATIO = "Share of the patches that are hidden."
_LOSS = "Error on the hidden patches: mse squared, l1 absolute."
_STANDARDISE = "Restore each patch less its mean and divided by its deviation, instead of intensities."
_DECODER = "of the decoder behind a transformer, which is thrown away after training."

# AdamW, weight decay 0.05, cosine after a warm-up of 5 % are He et al.'s (2022). Their rate, 1.5e-4 for each 256
# examples of a batch, is meant for 800 epochs; ours is higher, for runs of minutes.
_ADAMW = OptimSettings("adamw", learning_rate=5e-4, schedule="cosine", warmup=0.05, weight_decay=0.05)


@dataclass(frozen=True)
class Mae2dSettings:
    """Settings of mae2d."""

    size: int = setting(192, "Side of the framed slice in pixels; a multiple of the patch.", ge=16, le=1024)
    encoder: str = setting("vit", "vit sees the visible patches alone; any other slice encoder sees grey ones, too.")
    encoder_options: str = setting("", 'Arguments of the encoder as JSON, such as {"depth": 6}.', advanced=True)
    patch: int = setting(16, "Side of a hidden square in pixels; a multiple of a transformer's patch.", ge=2, le=256)
    ratio: float = setting(RATIO, _RATIO, ge=LEAST_RATIO, le=MOST_RATIO)
    loss: LossName = setting("mse", _LOSS)
    standardise: bool = setting(False, _STANDARDISE)
    decoder_channels: int = setting(128, f"Token length {_DECODER}", ge=8, le=2048, advanced=True)
    decoder_depth: int = setting(4, f"Blocks {_DECODER}", ge=1, le=24, advanced=True)
    run: RunSettings = field(default_factory=lambda: RunSettings(batch=32, optim=_ADAMW))


@dataclass(frozen=True)
class Mae3dSettings(VolumeSettings):
    """Settings of mae3d; width and norm are those of unet3d, channels, depth and token those of vit3d."""

    encoder: Literal["vit3d", "unet3d"] = setting(
        "vit3d", "vit3d sees the visible patches alone; unet3d sees grey ones, too."
    )
    channels: int = setting(192, "Token length of vit3d.", ge=8, le=2048)
    depth: int = setting(12, "Blocks of vit3d.", ge=1, le=48)
    token: int = setting(8, "Side of the cube of voxels that is a token of vit3d.", ge=2, le=64)
    patch: int = setting(8, "Side of a hidden cube in voxels; a multiple of the token.", ge=2, le=256)
    ratio: float = setting(RATIO, _RATIO, ge=LEAST_RATIO, le=MOST_RATIO)
    loss: LossName = setting("mse", _LOSS)
    standardise: bool = setting(False, _STANDARDISE)
    decoder_channels: int = setting(128, f"Token length {_DECODER}", ge=8, le=2048, advanced=True)
    decoder_depth: int = setting(4, f"Blocks {_DECODER}", ge=1, le=24, advanced=True)
    run: RunSettings = field(default_factory=lambda: RunSettings(batch=16, optim=_ADAMW))


def _build2d(settings: Mae2dSettings) -> Recipe:
    encoder = chosen_encoder(settings.encoder, settings.encoder_options, size=settings.size)
    task = MaskedSlices(settings.size, encoder.in_slices, _masking(settings, encoder))
    objective = _objective(settings, encoder, inputs=encoder.in_slices, dims=2)
    return Recipe(task, objective, settings.encoder)


def _build3d(settings: Mae3dSettings) -> Recipe:
    encoder: nn.Module
    if settings.encoder == "unet3d":
        encoder = volume_encoder(settings)
    else:
        encoder = build_encoder3d(
            "vit3d", channels=settings.channels, depth=settings.depth, patch=settings.token, size=settings.crop
        ).train()
    task = MaskedCrops(settings.crop, _masking(settings, encoder))
    objective = _objective(settings, encoder, inputs=1, dims=3)
    return Recipe(task, objective, settings.encoder, role="encoder3d")


def _masking(settings: Mae2dSettings | Mae3dSettings, encoder: nn.Module) -> Masking:
    token = encoder.stride if isinstance(encoder, PatchTransformer) else 0
    return Masking(settings.patch, ratio=settings.ratio, token=token, standardise=settings.standardise)


def _objective(
    settings: Mae2dSettings | Mae3dSettings, encoder: nn.Module, *, inputs: int, dims: int
) -> RestoreObjective:
    loss = _LOSSES[settings.loss]
    if isinstance(encoder, PatchTransformer):
        network = MaskedAutoencoder(encoder, channels=settings.decoder_channels, depth=settings.decoder_depth)
        return RestoreObjective(network, loss=loss, also=("visible",))
    return RestoreObjective(MaskedImageModel(encoder, inputs, dims=dims), loss=loss, also=("weight",))


add_method(
    Method(
        name="mae2d",
        line="Restores three quarters of a slice from the rest; a transformer, or any slice encoder.",
        source="guide 001, masked image modelling; He et al. 2022 (MAE), Xie et al. 2022 (SimMIM)",
        family="generative",
        dims=2,
        settings=Mae2dSettings,
        small=Mae2dSettings(
            size=64,
            encoder_options='{"in_slices": 1, "channels": 48, "depth": 3, "patch": 8}',
            patch=8,
            decoder_channels=32,
            decoder_depth=1,
            run=RunSettings(steps=200, batch=16, optim=_ADAMW),
        ),
        build=_build2d,
    )
)

add_method(
    Method(
        name="mae3d",
        line="Restores three quarters of a crop from the rest; a transformer or the 3D U-Net's encoder.",
        source="guide 001, masked image modelling for 3D; He et al. 2022 (MAE)",
        family="generative",
        dims=3,
        settings=Mae3dSettings,
        small=Mae3dSettings(
            crop_z=16,
            crop_y=32,
            crop_x=32,
            width=0.125,
            channels=48,
            depth=3,
            decoder_channels=32,
            decoder_depth=1,
            run=RunSettings(steps=200, batch=8, optim=_ADAMW),
        ),
        build=_build3d,
    )
)
