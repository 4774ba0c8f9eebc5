"""Rules on temperature, batch and length of contrastive pretraining (R-63 to R-78)."""

from __future__ import annotations

from napari_medssl.guidance.facts import CONTRASTIVE, MIO, thinks_of
from napari_medssl.guidance.rule import Rule

LOWEST_MIO_V3 = 0.1
"""Below it MIOv3 collapses: 38.4, 33.6 and 32.1 % at 0.07 (T, table 5.8)."""
HIGHEST_MIO = 0.5
"""The highest temperature the thesis tried for MIO."""
LOW = 0.1
"""At most so much is a low temperature (T, tables 5.8 and 6.14 call 0.07 and 0.1 low)."""
MANY_CLASSES = 100
"""CIFAR-100 and ImageNet-100 against the ten classes of CIFAR-10 (T 3112)."""
BIG_BATCH = 256

CONTRASTIVE_RULES: tuple[Rule, ...] = (
    Rule(
        "R-63",
        "temperature",
        "MIOv3",
        "Temperature 0.2; never under 0.1 (collapse to 38.4, 33.6 and 32.1 % at 0.07).",
        "strong",
        "T 2215 2623 2631-2644",
        when=lambda q: thinks_of(q, "=mio-v3"),
        prefers=("0.2",),
        avoids=("under 0.1",),
    ),
    Rule(
        "R-64",
        "temperature",
        "MIOv2",
        "Low temperatures only; it collapses at high ones.",
        "strong",
        "T 2187-2189 2215 2631-2644",
        when=lambda q: thinks_of(q, "=mio-v2"),
        prefers=("0.07 to 0.1",),
        avoids=("0.5",),
    ),
    Rule(
        "R-65",
        "temperature",
        "MIOv1",
        "Better at high than at low temperatures.",
        "medium",
        "T 2187 2631-2644",
        when=lambda q: thinks_of(q, "=mio-v1"),
        prefers=("0.2 to 0.5",),
        avoids=("0.07 to 0.1",),
    ),
    Rule(
        "R-66",
        "temperature",
        "any MIO at a temperature over 0.5",
        "Never tried: the thesis says results fall from 0.5 on. That holds for v2 and v3, and for v1 on CIFAR-100 and "
        "STL-10; v1 on CIFAR-10 and ImageNet-100 still rises at 0.5 (82.80, 74.02).",
        "weak",
        "T 2623 2631-2644",
        when=lambda q: thinks_of(q, *MIO) and q.temperature > HIGHEST_MIO,
        avoids=("over 0.5",),
    ),
    Rule(
        "R-67",
        "temperature",
        "features should spread and tell single images apart",
        "A lower temperature: more uniform, less tolerant.",
        "medium",
        "T 2743 2749 3112",
        when=lambda q: "separate-features" in q.plans,
        prefers=("lower",),
        counter="T 3088 says the reverse of tolerance; 2749 and 3112 agree with the theory (B6-15).",
    ),
    Rule(
        "R-68",
        "temperature",
        "features of a class should stay together",
        "A higher temperature: more tolerant and aligned.",
        "medium",
        "T 2771 3112",
        when=lambda q: "grouped-features" in q.plans,
        prefers=("higher",),
    ),
    Rule(
        "R-69",
        "temperature",
        "a temperature function of your own",
        "It must fall for negative and rise for positive similarity, and not be very low at either end; its shape "
        "hardly matters.",
        "medium",
        "T 2779 2817 3075-3082",
        when=lambda q: "temperature-function" in q.plans,
    ),
    Rule(
        "R-70",
        "temperature",
        "DySTreSS",
        "0.1 to 0.2 (best on ImageNet-100), 0.07 to 0.2 on small images; an upper end of 0.5 or two low ends hurt.",
        "medium",
        "T 2921 2985 3086 3095-3100",
        when=lambda q: thinks_of(q, "dystress"),
        prefers=("from 0.1 to 0.2",),
    ),
    Rule(
        "R-71",
        "temperature",
        "the profile of DySTreSS",
        "The plain cosine on CIFAR; on ImageNet-100 a shift of -0.2 was best by 20 neighbours (72.38) and -0.4 by "
        "linear probe (78.82), by at most 0.8 points.",
        "weak",
        "T 3134 3145-3153",
        when=lambda q: "temperature-profile" in q.plans,
        prefers=("the plain cosine",),
    ),
    Rule(
        "R-72",
        "temperature",
        f"many classes (from {MANY_CLASSES}), so few false negatives in a batch",
        "A lower upper end of the temperature.",
        "weak",
        "T 3112",
        when=lambda q: q.classes >= MANY_CLASSES and thinks_of(q, *CONTRASTIVE),
        prefers=("lower",),
    ),
    Rule(
        "R-73",
        "training",
        f"a low temperature (up to {LOW})",
        "A low learning rate.",
        "weak",
        "T 3167-3169",
        when=lambda q: 0 < q.temperature <= LOW,
    ),
    Rule(
        "R-74",
        "pretext",
        f"batches under {BIG_BATCH}",
        "DCL, MIO, MoCo or Barlow Twins before SimCLR.",
        "medium",
        "T 820 826 842 901 2656-2667",
        when=lambda q: 0 < q.batch < BIG_BATCH,
        prefers=("dcl", "mio", "moco", "barlow"),
    ),
    Rule(
        "R-75",
        "training",
        "MIO, and the batch",
        "128 with ten classes, 256 with a hundred; results hold from 64 to 512.",
        "medium",
        "T 2656-2667",
        when=lambda q: thinks_of(q, *MIO),
    ),
    Rule(
        "R-76",
        "training",
        "Barlow Twins",
        "Needs a large embedding.",
        "weak",
        "T 901",
        when=lambda q: thinks_of(q, "barlow"),
    ),
    Rule(
        "R-77",
        "pretext",
        "contrastive features for a medical classification on 2D images",
        "Have DCL on the list: it was ahead of MIO and DySTreSS on ISIC2016 (85.48 and 86.02 against 85.22 and 85.75) "
        "and MHIST (85.26 against 84.03 and 83.98).",
        "medium",
        "T 2383-2384 3055-3056",
        when=lambda q: q.task == "classification" and q.dims != "3D",
        prefers=("dcl",),
    ),
    Rule(
        "R-78",
        "training",
        "choosing the length of pretraining",
        "Longer helps.",
        "weak",
        "T 2611 2627",
        when=lambda q: "epochs" in q.plans,
    ),
)
