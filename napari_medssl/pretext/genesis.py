"""Restoring a crop from a distorted copy: Models Genesis, and with no distortion the autoencoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from napari_medssl.pretext.crops3d import Size, check_size, draw_crop
from napari_medssl.pretext.scan import Scan, pick_scan, to_float
from napari_medssl.pretext.task import Example
from napari_medssl.transforms.genesis import UNDISTORTED, GenesisRates, distort, flip_randomly


class DistortedCrops:
    """Crops and their distorted copies, 8-bit; the distortions are applied where they are drawn.

    A shuffle is an index per voxel, four times the bytes of the crop it acts on, so that the distorted crop is what
    travels to the device.

    crop: voxels along z, y, x. rates: of the distortions; `UNDISTORTED` for the autoencoder.

    An example: "distorted" and "crop" (Z, Y, X) uint8. A batch: "image", "target" (B, 1, Z, Y, X).

    Source: Zhou et al., 2021; paper 002, Eq. 9 and 10 (S73, S74).
    """

    def __init__(self, crop: Size, rates: GenesisRates = UNDISTORTED) -> None:
        check_size("crop", crop)
        self.crop, self.rates = crop, rates

    def draw(self, scans: Sequence[Scan], rng: np.random.Generator) -> Example:
        crop = flip_randomly(draw_crop(pick_scan(scans, rng), self.crop, rng), rng, self.rates.flip)
        return {"distorted": torch.from_numpy(distort(crop, rng, self.rates)), "crop": torch.from_numpy(crop)}

    def prepare(self, batch: Example) -> Example:
        return {"image": to_float(batch["distorted"])[:, None], "target": to_float(batch["crop"])[:, None]}
