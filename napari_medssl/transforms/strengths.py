"""The seven strengths of augmentation that are compared with pretraining: none, and S1 to S6."""

from __future__ import annotations

from typing import Literal, TypeAlias

from napari_medssl.transforms.volume_affine import VolumeAffineRange

Strength: TypeAlias = Literal["none", "S1", "S2", "S3", "S4", "S5", "S6"]

STRENGTHS: dict[Strength, VolumeAffineRange] = {
    "none": VolumeAffineRange(),
    "S1": VolumeAffineRange(flip=0.5),
    "S2": VolumeAffineRange(quarter_turn=0.5),
    "S3": VolumeAffineRange(flip=0.5, rotation=0.3, rotation_deg=(10.0, 0.0, 0.0)),
    "S4": VolumeAffineRange(quarter_turn=0.5, rotation=0.3, rotation_deg=(20.0, 0.0, 0.0)),
    "S5": VolumeAffineRange(flip=0.5, quarter_turn=0.5, rotation=0.6, rotation_deg=(30.0, 0.0, 0.0)),
    "S6": VolumeAffineRange(
        flip=0.5,
        quarter_turn=0.5,
        rotation=0.6,
        rotation_deg=(30.0, 0.0, 0.0),
        scale=0.4,
        scale_low=0.8,
        scale_high=1.2,
    ),
}
"""Presets for `draw_volume_affine`, for pretraining and fine-tuning alike (S87; paper 002, section 7 and supplement).

The paper finds that pretraining gains least beside the strongest of them. It names no axes: here each axis is flipped
with the probability given, and turns are about z, in the plane of the slices, because its crops are half as deep as
wide. The probability of the quarter and the free turn in S5 is read as 0.5 and 0.6.
"""
