"""Everything a user can set about a segmentation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from napari_medssl.intensity import IntensitySettings
from napari_medssl.oneshot.propagation import PropagationSettings
from napari_medssl.oneshot.prototype_settings import PrototypeSettings
from napari_medssl.oneshot.quadrants import QuadrantSettings
from napari_medssl.settings import setting

Features = Literal["slices", "volume", "both"]
Method = Literal["auto", "learned", "random-walker", "prototypes"]
DEFAULT_REFINE = "connected holes"


@dataclass(frozen=True)
class SegmentSettings:
    """One-shot segmentation.

    method: how the labels reach the other slices.
        "learned": the propagator, from the labelled slices, or from where the match with another scan is surest.
        "random-walker": no learned weights; within the labelled scan only.
        "prototypes": the published prototype path alone (CoWPro and its baselines, see `prototypes`).
        "auto": "learned" when the weights hold a propagator; otherwise "random-walker" within a scan and
        "prototypes" across scans.
    """

    method: Method = setting("auto", "how labels reach the other slices; auto: the best the weights allow")
    threshold: float = setting(0.5, "probability from which a voxel belongs to the organ", ge=0.01, le=0.99)
    walker_share: float = setting(
        0.85, "largest weight of a random walker beside the learned propagation; 0: none", ge=0, le=1
    )
    revisions: int = setting(2, "times the reviser goes over the answer again, where the weights hold one", ge=0, le=5)
    known_share: float = setting(
        0.6,
        "weight of what the weights know of an organ that they recognise on the labelled slices; 0: none",
        ge=0,
        le=1,
    )
    return_share: float = setting(
        0.5,
        "through thick slices, parts of the mask are taken out if less than this share of them finds back to the "
        "labelled slice; 0: none",
        ge=0,
        le=1,
    )
    refine: str = setting(DEFAULT_REFINE, "refinement steps in order, separated by spaces; empty: none")
    intensity: IntensitySettings = field(default_factory=IntensitySettings)
    propagation: PropagationSettings = field(default_factory=PropagationSettings)
    prototypes: PrototypeSettings = field(default_factory=PrototypeSettings)
    quadrants: QuadrantSettings = field(default_factory=QuadrantSettings)
    features: Features = setting(
        "slices", "matching across scans by features of slices, of a 3D encoder, or of both joined", advanced=True
    )
    volume_weights: str = setting("default3d", "weights of the 3D encoder, or a file", advanced=True)
    volume_spacing_mm: float = setting(
        0.0, "voxels the 3D encoder is shown, in mm; 0: what it was trained on", ge=0, le=20, advanced=True
    )
    volume_share: float = setting(0.2, "weight of the 3D features when both are joined", ge=0, le=1, advanced=True)
    parts: bool = setting(
        True, "prototype method across scans with a given range: each labelled slice serves its part", advanced=True
    )
    seed: int = setting(0, "seed, kept in the report", ge=0, advanced=True)
