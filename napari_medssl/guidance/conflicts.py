"""Where the documents contradict each other, and how we read it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from napari_medssl.guidance.sources import Source, parse


@dataclass(frozen=True)
class Side:
    """One of the claims, and where it stands."""

    claim: str
    where: str

    @property
    def sources(self) -> tuple[Source, ...]:
        """The lines that say so."""
        return parse(self.where)


@dataclass(frozen=True)
class Conflict:
    """Claims that cannot all be right everywhere, our resolution, and the rules it touches."""

    number: int
    title: str
    sides: tuple[Side, ...]
    resolution: str
    rules: tuple[str, ...]


CONFLICTS: tuple[Conflict, ...] = (
    Conflict(
        1,
        "Does self-supervision help with uneven classes?",
        (
            Side("It hurts when imbalance is extreme, also in the pretraining set.", "D 265; G 318 1055"),
            Side("It is more robust to imbalance than supervised training.", "G 147 1218 1636"),
        ),
        "It helps the rare class in the middle range; at the extremes pair it with resampling (R-47 to R-50).",
        ("R-46", "R-47", "R-48", "R-49", "R-50"),
    ),
    Conflict(
        2,
        "Fine-tune everything, or only a probe?",
        (
            Side("Everything, with a small learning rate; a frozen encoder is hardly able.", "D 350-358 531"),
            Side("A linear probe for few labels and for self-supervised models.", "G 729 730"),
        ),
        "It depends on the size of the encoder and the gap, not on self-supervision: D has small 3D networks and a "
        "gap, G large foundation models (B1-09).",
        ("R-27", "R-27b", "R-27d", "R-27e"),
    ),
    Conflict(
        3,
        "Small data: supervised or self-supervised?",
        (
            Side("Supervised is ahead on small sets.", "G 666 1216 1473 1617"),
            Side("Self-supervision on large external data of the domain helps small sets most.", "G 242 1474 1670"),
        ),
        "It depends on where the pretraining data come from: the small set itself, or a large pool.",
        ("R-02", "R-03", "R-06"),
    ),
    Conflict(
        4,
        "Are generative pretexts best for segmentation?",
        (
            Side("They keep local anatomy and suit segmentation.", "R 13; D 441"),
            Side("On the liver autoencoder, Models Genesis and PCRL are not the best of ten.", "D 206-208"),
        ),
        "A tendency, not a law: try them, and check against contrastive ones and relative patch location (B1-17).",
        ("R-22", "R-23", "R-37"),
    ),
    Conflict(
        5,
        "The larger pretraining set, or one's own?",
        (
            Side("Pretrain on the target's distribution.", "T 612 1123"),
            Side("The larger set won, although foreign (SKID .761 against .741).", "T 1550-1552"),
            Side("The own set won (SSLACL .740 against .6799).", "T 1528-1548"),
        ),
        "Two experiments, two answers: try both when both are at hand.",
        ("R-12", "R-13", "R-14"),
    ),
    Conflict(
        6,
        "Small crops and blur in contrastive learning",
        (
            Side("They can delete the lesion.", "D 64; R 13"),
            Side("The thesis crops to 0.08 of the area and blurs, on knee MR.", "T 1933-1937"),
        ),
        "Kept as the thesis' preset; for small targets crops from 0.3 of the area (ours, B4-16).",
        ("R-36",),
    ),
    Conflict(
        7,
        "Is a harder pretext better?",
        (
            Side("More arrangements are harder and better: 1000 over 500.", "T 1623 1665-1669"),
            Side("What an expert cannot solve teaches shortcuts.", "D 516"),
        ),
        "Slices in nine tiles are not volumes in dozens of cubes; in 3D prefer contrastive learning.",
        ("R-30", "R-34"),
    ),
    Conflict(
        8,
        "Who was ahead on 33,484 OCT images?",
        (
            Side("Supervised.", "G 1413"),
            Side("Self-supervised, or the gap was narrow.", "G 139 417 1206 1496"),
        ),
        "G 1413 is a slip of copying: four places of G say the opposite (B1-02).",
        ("R-05",),
    ),
)


def touching(rule_ids: Iterable[str]) -> tuple[Conflict, ...]:
    """The conflicts that concern any of these rules."""
    wanted = set(rule_ids)
    return tuple(conflict for conflict in CONFLICTS if wanted & set(conflict.rules))
