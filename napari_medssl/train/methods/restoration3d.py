"""The autoencoder and Models Genesis."""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_medssl.models.restorer3d import Restorer3d
from napari_medssl.pretext.genesis import DistortedCrops
from napari_medssl.settings import setting
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.volumes import VolumeSettings, small_volumes, volume_encoder, volume_recipe
from napari_medssl.train.objectives.restore import RestoreObjective
from napari_medssl.train.optimisers import BENCHMARK_3D_GENESIS
from napari_medssl.train.run_settings import RunSettings
from napari_medssl.transforms.genesis import UNDISTORTED, GenesisRates


@dataclass(frozen=True)
class AutoencoderSettings(VolumeSettings):
    """Settings of autoencoder; the paper gives none of its own, these are those of Models Genesis."""

    skip: bool = setting(
        True, "Let the decoder see the finer grids of the encoder, too; without it, transfer was better."
    )
    run: RunSettings = field(default_factory=lambda: RunSettings(batch=6, optim=BENCHMARK_3D_GENESIS))


@dataclass(frozen=True)
class GenesisSettings(AutoencoderSettings):
    """Settings of model-genesis: how often each distortion happens."""

    curve: float = setting(0.9, "How often intensities pass a random curve.", ge=0.0, le=1.0)
    shuffling: float = setting(0.5, "How often voxels are shuffled in small boxes.", ge=0.0, le=1.0)
    painting: float = setting(0.9, "How often a part is painted over with noise.", ge=0.0, le=1.0)
    outpainting: float = setting(0.8, "Share of the painting that leaves windows of the crop.", ge=0.0, le=1.0)
    flip: float = setting(0.4, "How often each axis is flipped, of crop and target alike.", ge=0.0, le=1.0)

    def rates(self) -> GenesisRates:
        """As the task takes them."""
        return GenesisRates(self.curve, self.shuffling, self.painting, self.outpainting, self.flip)


_SMALL = small_volumes(AutoencoderSettings(), crop=(16, 24, 24), batch=6)
_SMALL_GENESIS = small_volumes(GenesisSettings(), crop=(16, 24, 24), batch=6)


def _autoencoder(settings: AutoencoderSettings) -> Recipe:
    return _recipe(settings, UNDISTORTED)


def _genesis(settings: GenesisSettings) -> Recipe:
    return _recipe(settings, settings.rates())


def _recipe(settings: AutoencoderSettings, rates: GenesisRates) -> Recipe:
    network = Restorer3d(volume_encoder(settings), skip=settings.skip)
    return volume_recipe(DistortedCrops(settings.crop, rates), RestoreObjective(network))


add_method(
    Method(
        name="autoencoder",
        line="Restores a crop from its features.",
        source="paper 002, Eq. 9 (AE); Schmidhuber 2015",
        family="generative",
        dims=3,
        settings=AutoencoderSettings,
        small=_SMALL,
        build=_autoencoder,
    )
)
add_method(
    Method(
        name="model-genesis",
        line="Restores a crop that was shuffled, painted over and given other intensities.",
        source="paper 002, Eq. 10 (MG); Zhou et al. 2021",
        family="generative",
        dims=3,
        settings=GenesisSettings,
        small=_SMALL_GENESIS,
        build=_genesis,
    )
)
