"""What a user chooses about the features of a cohort."""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_medssl.dense.settings import ExtractSettings
from napari_medssl.explore.similarity import Combine
from napari_medssl.settings import setting


@dataclass(frozen=True)
class CohortSettings:
    """Where the scans of a cohort are worked on.

    Every worker is a process of its own with one engine and one scan at a time, so that a scan that fills the memory
    takes nothing with it but itself. All defaults are ours.
    """

    workers: int = setting(
        0, "worker processes on this computer; 0: one per GPU, or as many as cores and memory are enough for", ge=0
    )
    threads: int = setting(0, "threads each worker computes with; 0: shares the cores among the workers", ge=0)
    memory_gb: float = setting(
        0.0, "GiB of memory at which a worker process is ended; 0: shares what is free among the workers", ge=0
    )
    attempts: int = setting(
        2, "how often a scan is begun whose worker process ended before it was done", ge=1, le=10, advanced=True
    )
    patience_s: float = setting(
        60.0, "seconds to wait for a first worker, and again when none is left", ge=1, advanced=True
    )


@dataclass(frozen=True)
class ColourSettings:
    """How components become colours, and what else is written of them."""

    low: float = setting(2.0, "percentile of a component that becomes 0", ge=0, le=49)
    high: float = setting(98.0, "percentile of a component that becomes 1", ge=51, le=100)
    components: int = setting(3, "components to find; the first three are red, green and blue", ge=3, le=64)
    separate: bool = setting(False, "also write each component as a map of its own")
    body: bool = setting(True, "fit on the body alone and leave the air around it black")


@dataclass(frozen=True)
class LikenessSettings:
    """How likeness to a point or region is measured."""

    centring: bool = setting(True, "take the mean vector of each scan off first, so that organs stand out")
    body: bool = setting(True, "take that mean from the body alone")
    combine: Combine = setting("any", "of several points the nearest counts, or their mean direction")


@dataclass(frozen=True)
class FeaturesSettings:
    """Everything of `medssl features`."""

    extract: ExtractSettings = field(default_factory=ExtractSettings)
    colours: ColourSettings = field(default_factory=ColourSettings)
    similarity: LikenessSettings = field(default_factory=LikenessSettings)
    cohort: CohortSettings = field(default_factory=CohortSettings)
