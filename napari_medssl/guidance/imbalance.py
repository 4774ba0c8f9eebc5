"""Rules on uneven classes and on augmentation (R-47 to R-51)."""

from __future__ import annotations

from napari_medssl.guidance.facts import (
    EXTREME,
    HANDFUL,
    LARGE,
    SEVERE,
    SLIGHT,
    UNEVEN,
    positives,
    thinks_of,
)
from napari_medssl.guidance.question import Question
from napari_medssl.guidance.rule import Rule

JOINT = "self-supervision plus mean resampling"
ALONE = "mean resampling alone"


def _handful(q: Question) -> bool:
    count = positives(q)
    return count is not None and count <= HANDFUL


IMBALANCE_RULES: tuple[Rule, ...] = (
    Rule(
        "R-47",
        "resampling",
        f"severe imbalance (from 1 : {SEVERE:.0f}) and few data (under {LARGE:,} labels)",
        "Self-supervision plus mean resampling. Recall over the plain baseline at 1 : 100 and 5,000 images: +19.10 by "
        "resampling alone, +32.38 with Models Genesis, +43.34 with PCRL (the last is 19.10 + 24.24; its own cell is "
        "lost, and the table's cells are re-associated, B2-16).",
        "strong",
        "D 482 494-504",
        when=lambda q: q.imbalance >= SEVERE and 0 <= q.labels < LARGE,
        prefers=(JOINT,),
        against=("R-02",),
    ),
    Rule(
        "R-48",
        "resampling",
        f"slight imbalance (up to 1 : {SLIGHT:.0f})",
        "Resampling alone: self-supervision adds little there.",
        "strong",
        "D 264 482",
        when=lambda q: UNEVEN < q.imbalance <= SLIGHT,
        prefers=(ALONE,),
    ),
    Rule(
        "R-49",
        "resampling",
        f"extreme imbalance (from 1 : {EXTREME:.0f}), and no resampling is planned",
        "Mend the imbalance first: self-supervision alone may lower the result.",
        "strong",
        "D 265 267; G 318",
        when=lambda q: q.imbalance >= EXTREME and q.resampling != "yes",
        prefers=(JOINT,),
        avoids=("self-supervision without resampling",),
        counter="G 1218 and 1636 call self-supervision more robust to imbalance than supervised training.",
    ),
    Rule(
        "R-50",
        "resampling",
        f"resampling with a handful of positives (up to {HANDFUL})",
        "It over-fits the few: combine it with self-supervision or class weights.",
        "medium",
        "D 480",
        when=lambda q: q.resampling == "yes" and _handful(q),
        prefers=(JOINT,),
        avoids=(ALONE,),
    ),
    Rule(
        "R-51",
        "augmentation",
        "strong augmentation in fine-tuning",
        "Expect the gain of self-supervision to shrink or turn; report weak and strong augmentation both.",
        "strong",
        "D 46 508; G 1424 1808",
        when=lambda q: q.augmentation == "strong",
    ),
    Rule(
        "R-51b",
        "augmentation",
        "fine-tuning after masked image modelling",
        "Lighter augmentation than in pretraining.",
        "weak",
        "G 1270",
        when=lambda q: thinks_of(q, "mae"),
    ),
    Rule(
        "R-51c",
        "augmentation",
        "images are to be mixed",
        "MixUp for ResNets, SnapMix (or CutMix) for transformers.",
        "medium",
        "G 1226-1233 1296",
        when=lambda q: "mix" in q.plans,
        counter="On fundus images YOCO was best for the ResNet-50 (G 1231).",
    ),
    Rule(
        "R-51d",
        "augmentation",
        "augmentation is used",
        "It must be possible in the physics of the modality and in anatomy.",
        "weak",
        "G 1224 1383",
        when=lambda q: q.augmentation in ("weak", "strong"),
    ),
)
