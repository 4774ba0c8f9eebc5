"""Rules on how to compare and to report (R-52, R-89 to R-95)."""

from __future__ import annotations

from napari_medssl.guidance.facts import LARGE, SMALL, imbalanced, labels_known, one_shot, total
from napari_medssl.guidance.question import Question
from napari_medssl.guidance.rule import Rule


def _compares(q: Question) -> bool:
    count = total(q)
    return "comparison" in q.plans or (count is not None and SMALL <= count <= LARGE)


EVALUATION_RULES: tuple[Rule, ...] = (
    Rule(
        "R-52",
        "evaluation",
        "supervised and self-supervised training are compared",
        "The same network, augmentation and budget for tuning; several seeds, mean and spread, a statistical test.",
        "strong",
        "G 193-197 247 452 456 807 1057 1516",
        when=_compares,
    ),
    Rule(
        "R-89",
        "evaluation",
        "medical data are split",
        "Split by patient, before anything is sampled.",
        "medium",
        "G 827",
        when=labels_known,
    ),
    Rule(
        "R-90",
        "evaluation",
        "labels are uneven",
        "Report AUC, F1, sensitivity and specificity, never accuracy alone.",
        "medium",
        "G 1442; T 1504 1625",
        when=imbalanced,
    ),
    Rule(
        "R-91",
        "evaluation",
        "missed cases are costly (recall), or false alarms are (precision)",
        "Rank models by recall, or by precision.",
        "weak",
        "G 170",
        when=lambda q: q.goal in ("recall", "precision"),
    ),
    Rule(
        "R-92",
        "evaluation",
        "the weights of an ensemble come from accuracy",
        "Compute them on a split for tuning, never on the one reported (B3-39).",
        "ours",
        "T 1387",
        when=lambda q: "ensemble" in q.plans,
    ),
    Rule(
        "R-93",
        "evaluation",
        "the range or the quadrants of an organ come from the query's own labels",
        'Mark the result as "oracle": in use nobody knows them (B7-28, B7-32).',
        "ours",
        "T 3376 3384",
        when=lambda q: "query-labels" in q.plans and (one_shot(q) or q.task in ("segmentation", "unknown")),
    ),
    Rule(
        "R-94",
        "evaluation",
        "people label",
        "Written guidelines, and a consensus or spot checks.",
        "weak",
        "G 104",
        when=lambda q: q.annotators == "yes",
    ),
    Rule(
        "R-95",
        "evaluation",
        "a confidence interval is quoted",
        'Say which percentiles and which resampling: the thesis calls the same interval "5%-95%" and "95%" (B3-47).',
        "ours",
        "T 1471 1490",
        when=lambda q: "interval" in q.plans,
    ),
)
