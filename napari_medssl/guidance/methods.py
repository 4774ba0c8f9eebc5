"""The pretraining methods on the command line, their families, and what was measured of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Family: TypeAlias = Literal["contrastive", "non-contrastive", "predictive", "generative", "hybrid", "episodes"]


@dataclass(frozen=True)
class Entry:
    """A method: name on the command line, title, family, 2 for slices or 3 for volumes, and its kind.

    Methods of one kind are variants of one idea; the documents' advice is on kinds.
    """

    name: str
    title: str
    family: Family
    dims: Literal[2, 3]
    kind: str


# Variants of a kind stand in the order in which they are to be tried first.
METHODS: dict[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry("simclr", "SimCLR", "contrastive", 2, "simclr"),
        Entry("simclr3d", "SimCLR on volumes", "contrastive", 3, "simclr"),
        Entry("byol", "BYOL", "non-contrastive", 2, "byol"),
        Entry("byol3d", "BYOL on volumes", "non-contrastive", 3, "byol"),
        Entry("dcl", "DCL, decoupled contrastive", "contrastive", 2, "dcl"),
        Entry("dclw", "DCLW, weighted DCL", "contrastive", 2, "dcl"),
        Entry("moco-v2", "MoCo v2", "contrastive", 2, "moco"),
        Entry("mio-v3", "MIOv3", "contrastive", 2, "mio"),
        Entry("mio-v2", "MIOv2", "contrastive", 2, "mio"),
        Entry("mio-v1", "MIOv1", "contrastive", 2, "mio"),
        Entry("dystress", "DySTreSS, temperature by similarity", "contrastive", 2, "dystress"),
        Entry("dystress-dcl", "DySTreSS on DCL", "contrastive", 2, "dystress"),
        Entry("combo", "binary contrastive + InfoNCE", "contrastive", 2, "binary"),
        Entry("binary", "binary contrastive", "contrastive", 2, "binary"),
        Entry("macl", "MACL", "contrastive", 2, "macl"),
        Entry("pirl", "PIRL", "contrastive", 2, "pirl"),
        Entry("swav", "SwAV", "non-contrastive", 2, "swav"),  # no negatives; T 860 files it under contrastive
        Entry("barlow-twins", "Barlow Twins", "non-contrastive", 2, "barlow"),
        Entry("vicreg", "VICReg", "non-contrastive", 2, "vicreg"),
        Entry("simsiam", "SimSiam", "non-contrastive", 2, "simsiam"),
        Entry("dino", "DINO", "non-contrastive", 2, "dino"),
        Entry("w-mse", "W-MSE", "non-contrastive", 2, "w-mse"),
        Entry("zero-cl", "ZeroCL", "non-contrastive", 2, "zero-cl"),
        Entry("zero-icl", "ZeroICL", "non-contrastive", 2, "zero-cl"),
        Entry("zero-fcl", "ZeroFCL", "non-contrastive", 2, "zero-cl"),
        Entry("arb", "ARB", "non-contrastive", 2, "arb"),
        Entry("logdet", "LogDet", "non-contrastive", 2, "logdet"),
        Entry("rpl", "relative patch location", "predictive", 3, "rpl"),
        Entry("rubik-plus", "Rubik's cube+", "predictive", 3, "rubik-plus"),
        Entry("rubik", "Rubik's cube", "predictive", 3, "rubik"),
        Entry("skid-v3", "SKID v3 jigsaw", "predictive", 2, "jigsaw"),
        Entry("skid-v2", "SKID v2 jigsaw", "predictive", 2, "jigsaw"),
        Entry("skid-v1", "SKID v1 jigsaw", "predictive", 2, "jigsaw"),
        Entry("sslacl", "SSLACL jigsaw", "predictive", 2, "jigsaw"),
        Entry("skid-noblocks", "SKID without its blocks", "predictive", 2, "jigsaw"),
        Entry("jigsaw3d", "jigsaw of cubes", "predictive", 3, "jigsaw"),
        Entry("rot3d", "rotation of cubes", "predictive", 3, "rotation"),
        Entry("rotation", "rotation of slices", "predictive", 2, "rotation"),
        Entry("geometric", "54 geometric transforms", "predictive", 2, "geometric"),
        Entry("voxel-contrast", "contrast of voxels", "contrastive", 3, "voxels"),
        Entry("pcrl", "PCRL", "hybrid", 3, "pcrl"),
        Entry("model-genesis", "Models Genesis", "generative", 3, "genesis"),
        Entry("mae3d", "masked autoencoder on volumes", "generative", 3, "mae"),
        Entry("mae2d", "masked autoencoder", "generative", 2, "mae"),
        Entry("autoencoder", "autoencoder", "generative", 3, "autoencoder"),
        Entry("cowpro", "CoWPro superpixel episodes", "episodes", 2, "cowpro"),
        Entry("incontext", "episodes on labels and superpixels", "episodes", 2, "incontext"),
        Entry("propagation", "masks from slice to slice", "episodes", 2, "propagation"),
        Entry("guided-propagation", "masks from slice to slice, revised", "episodes", 2, "propagation"),
        Entry("recognition", "structures of labelled scans by name", "episodes", 2, "recognition"),
    )
}

TABLE_3: dict[str, tuple[float, float, float]] = {
    "rotation": (99.32, 73.25, 94.49),
    "rpl": (99.29, 76.10, 94.86),
    "jigsaw": (98.64, 75.23, 94.36),
    "rubik": (99.41, 74.22, 94.93),
    "rubik-plus": (98.88, 74.31, 95.46),
    "autoencoder": (97.76, 74.26, 93.77),
    "genesis": (98.01, 75.69, 94.24),
    "pcrl": (98.97, 75.60, 93.87),
    "simclr": (99.29, 75.96, 94.56),
    "byol": (99.52, 76.13, 94.43),
}
"""Kind to (AUC of nodule classification, Dice of nodule segmentation, Dice of liver segmentation) on 3D CT: D, table 3.

The caption there swaps the names of the two nodule tasks; the column with AUC is classification (B2-01).
"""
SCRATCH = (98.53, 73.79, 93.83)
"""The same three without pretraining."""


def methods_of(token: str) -> frozenset[str]:
    """Names of the methods a rule's word stands for: a kind, a family, "2D" or "3D", or "=NAME" for one method alone.

    Raises KeyError for a word that stands for none: a rule is wrong then.

    >>> sorted(methods_of("mae")), sorted(methods_of("=dcl"))
    (['mae2d', 'mae3d'], ['dcl'])
    """
    if token.startswith("="):
        return frozenset({METHODS[token[1:]].name})
    found = frozenset(e.name for e in METHODS.values() if token in (e.kind, e.family, f"{e.dims}D"))
    if not found:
        raise KeyError(f"no kind of method, family or dimension is called {token!r}")
    return found


def is_kind(name: str, *tokens: str) -> bool:
    """Whether a method (or "", none) belongs to one of these words."""
    return any(name in methods_of(token) for token in tokens)
