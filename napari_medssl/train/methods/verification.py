"""Verification: a small network learns to tell blobs of an organ from neighbours that were taken for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from napari_medssl.models.verifier import build_verifier
from napari_medssl.oneshot.blob_features import FEATURES
from napari_medssl.settings import setting
from napari_medssl.train.episodes.judged_blobs import BlobSettings, JudgedBlobs
from napari_medssl.train.episodes.rehearsals import Rehearsals
from napari_medssl.train.episodes.sources import WalkSettings
from napari_medssl.train.method import Method, Recipe, add_method
from napari_medssl.train.methods.ingredients.propagators import carriers_in, cast_of
from napari_medssl.train.objectives.blob_verdict import BlobVerdict
from napari_medssl.train.run_settings import OptimSettings, RunSettings


@dataclass(frozen=True)
class VerificationSettings:
    """Training of a verifier on rehearsed segmentations of scans on their own grid; it is no encoder."""

    first: str = setting(
        "",
        "Weights file. Its propagator and reviser give the segmentations that are judged. Empty: a random walker.",
    )
    verifier: str = setting("blob-judge", "Verifier by name.")
    hidden: int = setting(48, "Units of its hidden layers.", ge=1)
    spacing_mm: float = setting(0.0, "Voxel size the scans are brought to; 0: their own.", ge=0.0, le=20.0)
    walks: WalkSettings = field(default_factory=lambda: WalkSettings(supervoxel_share=0.0))
    blobs: BlobSettings = field(default_factory=BlobSettings)
    run: RunSettings = field(
        default_factory=lambda: RunSettings(
            steps=3000,
            batch=32,
            validation_share=0.0,
            monitor_every=0,
            optim=OptimSettings(learning_rate=3e-3, weight_decay=0.1, schedule="cosine", warmup=0.1),
        )
    )


def build(settings: VerificationSettings) -> Recipe:
    """Verifier, blobs and loss."""
    bundle = carriers_in(Path(settings.first)) if settings.first else None
    rehearsals = Rehearsals(
        settings.walks,
        None if bundle is None else cast_of(bundle),
        seed=settings.run.seed,
        share=settings.blobs.walker_share,
        large_share=settings.blobs.large_share,
        alike_share=settings.blobs.alike_share,
    )
    network = build_verifier(settings.verifier, features=len(FEATURES), hidden=settings.hidden).train()
    facts = {} if bundle is None else {"judges": bundle.sha256}
    task = JudgedBlobs(settings.blobs, rehearsals)
    return Recipe(task, BlobVerdict(network), settings.verifier, role="verifier", facts=facts)


SMALL = VerificationSettings(
    hidden=8,
    walks=WalkSettings(supervoxels=20),
    blobs=BlobSettings(pool=16, blobs=8),
    run=RunSettings(steps=200, batch=4, validation_share=0.0, monitor_every=0),
)

add_method(
    Method(
        name="verification",
        line="tells blobs of an organ from its neighbours; gives the verifier of the one-shot segmentation",
        source="ours; default weights",
        family="episodes",
        dims=3,
        settings=VerificationSettings,
        small=SMALL,
        build=build,
    )
)
