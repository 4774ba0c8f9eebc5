"""Named ranges of random views: those of the documents, and a careful one for medical slices."""

from __future__ import annotations

from typing import Literal, TypeAlias

from napari_medssl.transforms.tone import ToneRanges
from napari_medssl.transforms.views import ViewRanges

ViewPreset: TypeAlias = Literal["medical", "thesis-4", "simclr", "none", "s1", "s2", "s3", "s4", "s5", "s6"]

VIEW_PRESETS: dict[ViewPreset, ViewRanges] = {
    # Ours: large crops and weak blur, because crop and blur may delete a lesion (paper 002; B4-16), no mirror images,
    # because left and right differ, and a change of contrast as between scanners.
    "medical": ViewRanges(
        crop=(0.3, 1.0),
        ratio=1.25,
        rotation_deg=15.0,
        tone=ToneRanges(brightness=0.2, contrast=0.2, gamma=1.5, curve=0.5),
        blur_sigma=(0.1, 1.0),
        blur_chance=0.3,
        noise_sd=0.05,
        noise_uniform=True,
    ),
    # Thesis Table 4.3. Saturation and hue change nothing in grey slices (B4-17); 1 to 4 holes, both included (B4-15).
    "thesis-4": ViewRanges(
        crop=(0.08, 1.0),
        ratio=4 / 3,
        rotation_deg=30.0,
        tone=ToneRanges(brightness=0.2, contrast=0.2),
        blur_sigma=(0.1, 2.0),
        noise_sd=0.1,
        holes=(1, 4),
    ),
    # Chen et al. (2020), appendix A, strength 1, without colour. Their kernel is a tenth of the image wide; beyond
    # three sigmas (6 pixels) its weights are nothing.
    "simclr": ViewRanges(
        crop=(0.08, 1.0),
        ratio=4 / 3,
        flip_x=0.5,
        tone=ToneRanges(brightness=0.8, contrast=0.8, chance=0.8),
        blur_sigma=(0.1, 2.0),
        blur_chance=0.5,
        blur_radius=6,
    ),
    "none": ViewRanges(),
    # The strengths S1 to S6 of paper 002 (public code; B2-23).
    "s1": ViewRanges(flip_x=0.5),
    "s2": ViewRanges(quarter_turn=0.5),
    "s3": ViewRanges(flip_x=0.5, rotation_deg=10.0, rotation_chance=0.3),
    "s4": ViewRanges(quarter_turn=0.5, rotation_deg=20.0, rotation_chance=0.3),
    "s5": ViewRanges(flip_x=0.5, quarter_turn=0.5, rotation_deg=30.0, rotation_chance=0.6),
    "s6": ViewRanges(
        flip_x=0.5, quarter_turn=0.5, rotation_deg=30.0, rotation_chance=0.6, zoom=(0.8, 1.2), zoom_chance=0.4
    ),
}
