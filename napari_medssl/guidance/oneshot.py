"""Rules on one-shot segmentation with prototypes (R-79 to R-88)."""

from __future__ import annotations

from napari_medssl.guidance.facts import OF_INTEREST, one_shot, thinks_of
from napari_medssl.guidance.rule import Rule

KIDNEYS = ("right kidney", "left kidney")

ONE_SHOT_RULES: tuple[Rule, ...] = (
    Rule(
        "R-79",
        "prototypes",
        "the organ is a kidney",
        "The dynamic threshold: Dice 79.54 and 74.59 (right, left) against 79.06 and 72.24 fixed.",
        "medium",
        "T 3256 3444",
        when=lambda q: one_shot(q) and q.organ in KIDNEYS,
        prefers=("dynamic threshold",),
    ),
    Rule(
        "R-80",
        "prototypes",
        "the organ is the liver or the spleen",
        "The fixed threshold 0.95: Dice 75.04 and 71.19 (liver, spleen) against 73.87 and 66.33 dynamic.",
        "medium",
        "T 3256 3444",
        when=lambda q: one_shot(q) and q.organ in ("liver", "spleen"),
        prefers=("fixed threshold 0.95",),
    ),
    Rule(
        "R-81",
        "prototypes",
        "the organ keeps to known quadrants of the image",
        "Mask the other quadrants: all four organs gained 0.32 to 3.06 Dice.",
        "medium",
        "T 3450-3462",
        when=lambda q: one_shot(q) and q.organ in OF_INTEREST and q.orientation_known != "no",
        prefers=("quadrant mask",),
        against=("R-82",),
    ),
    Rule(
        "R-82",
        "prototypes",
        "the organ crosses the midline (the liver's left lobe), or the orientation is not known",
        "Beware of the quadrants' hard edge.",
        "weak",
        "T 3462",
        when=lambda q: one_shot(q) and (q.organ == "liver" or q.orientation_known == "no"),
        avoids=("quadrant mask",),
        against=("R-81",),
    ),
    Rule(
        "R-83",
        "prototypes",
        "the number of prototypes",
        "All of them. With 4 x 4 windows fewer change little for the right kidney (80.77 to 80.68) and help the left "
        "(72.87 to 74.86 at 2 %); with 2 x 2 they cost (79.99 to 75.69, 76.22 to 70.42): never cut them there.",
        "medium",
        "T 3466-3476",
        when=one_shot,
        prefers=("all prototypes",),
        counter="T 3466 calls the variation insignificant; its table does not for 2 x 2 (B7-37).",
    ),
    Rule(
        "R-84",
        "prototypes",
        "the averaging window",
        "4 x 4, as in training, for the right kidney; 2 x 2 for the left; nothing is known of liver and spleen: 4 x 4.",
        "weak",
        "T 3472-3482",
        when=lambda q: one_shot(q) and q.organ != "unknown",
        prefers=("windows as the organ asks",),
    ),
    Rule(
        "R-85",
        "prototypes",
        "one prototype of the whole organ (PANet)",
        "Avoid it; use local prototypes and one global one of the organ. Mean Dice 46.33 (PANet), 54.85 (SSL-PANet), "
        "73.03 (SSL-ALPNet), 75.56 (CoWPro, fixed threshold and quadrants, B7-13).",
        "medium",
        "T 3199 3410-3419",
        when=one_shot,
        prefers=("local prototypes and a global one",),
        avoids=("one global prototype",),
    ),
    Rule(
        "R-86",
        "prototypes",
        "training with cyclic consistency",
        "Extract prototypes at a threshold of 0.95 on the way back; else about 2 Dice are lost.",
        "medium",
        "T 3356",
        when=lambda q: thinks_of(q, "cowpro"),
    ),
    Rule(
        "R-87",
        "prototypes",
        "episodes, and the balance of organ and background",
        "Weights 0.05 for background and 1 for the organ in the cross-entropy.",
        "medium",
        "T 3366",
        when=lambda q: thinks_of(q, "cowpro"),
    ),
    Rule(
        "R-88",
        "prototypes",
        "a scan of several slices",
        "Three parts, each with a labelled slice of its own (one slice for all parts is ours).",
        "medium",
        "T 3380",
        when=lambda q: one_shot(q) and (q.slices >= 3 or q.dims == "3D"),
        prefers=("three parts",),
    ),
)
