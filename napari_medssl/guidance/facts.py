"""Conditions that several rules share, with the numbers at which they begin."""

from __future__ import annotations

from napari_medssl.guidance.methods import is_kind
from napari_medssl.guidance.question import Question

SMALL = 2_000
"""Below it labels are few for self-supervision on the same set: G 1216, 1473 (G 666: 1,000; G 1502: 10,000; B1-03)."""
LARGE = 10_000
"""Above it a set is large: G 1217, 1296, 1502 (B1-03)."""
FEW = 50
"""Few-shot: "only a few dozen samples", D 526; the number is ours."""
SEVERE = 20.0
"""1 : 20 and beyond is severe: minority/majority up to 0.05 in D, table 7."""
SLIGHT = 10.0
"""Up to 1 : 10 imbalance is slight: minority/majority from 0.1 in D, table 7."""
EXTREME = 40.0
"""From 1 : 40 it is extreme: minority/majority 0.025, the smallest ratio of D, section 4 (B2-13)."""
UNEVEN = 1.5
"""Up to it classes count as even (ours)."""
HANDFUL = 50
"""At most so many positives are a handful: 50 in D's table 7 at ratio 0.01 and 5,000 images, where resampling lost."""
ONE_SHOT = 5
"""Up to so many labelled scans a segmentation is one-shot (ours)."""

CONTRASTIVE = ("contrastive", "simclr")
MIO = ("mio",)
CONTEXT = ("jigsaw", "rotation", "geometric")
OF_INTEREST = ("right kidney", "left kidney", "liver", "spleen")


def labels_known(q: Question) -> bool:
    """Whether the number of labels is stated."""
    return q.labels >= 0


def few_labels(q: Question) -> bool:
    """Stated, and fewer than `SMALL`."""
    return 0 <= q.labels < SMALL


def share_of_labels(q: Question) -> float | None:
    """Percent of the images that has labels: stated, or from the two counts; None when neither is there."""
    if q.label_percent >= 0:
        return q.label_percent
    if q.labels < 0 or q.unlabelled < 0 or q.labels + q.unlabelled == 0:
        return None
    return 100.0 * q.labels / (q.labels + q.unlabelled)


def total(q: Question) -> int | None:
    """Images with and without labels; None unless both counts are stated."""
    return q.labels + q.unlabelled if q.labels >= 0 and q.unlabelled >= 0 else None


def imbalanced(q: Question) -> bool:
    """Stated, and more than even."""
    return q.imbalance > UNEVEN


def positives(q: Question) -> int | None:
    """Cases of the rarest class: stated, or from labels and imbalance (two classes)."""
    if q.positives >= 0:
        return q.positives
    return round(q.labels / (1 + q.imbalance)) if q.labels >= 0 and imbalanced(q) else None


def one_shot(q: Question) -> bool:
    """Segmentation from one labelled scan, or from a few."""
    return q.task == "one-shot" or (q.task == "segmentation" and 1 <= q.labels <= ONE_SHOT)


def segments(q: Question) -> bool:
    """Any kind of segmentation."""
    return q.task in ("segmentation", "one-shot")


def thinks_of(q: Question, *tokens: str) -> bool:
    """Whether the method in mind is of one of these kinds."""
    return bool(q.method) and is_kind(q.method, *tokens)


def full_fine_tuning(q: Question) -> bool:
    """Whether R-27, R-27c or R-27f asks for training the whole network."""
    return own_encoder(q) or q.weights == "imagenet" or q.labels >= LARGE


def own_encoder(q: Question) -> bool:
    """A small network pretrained by oneself, and a target task or a domain it does not know."""
    return q.weights == "own" and q.architecture != "ViT" and (q.task not in ("unknown", "one-shot") or has_gap(q))


def has_gap(q: Question) -> bool:
    """Target data of another domain than the pretraining data."""
    return q.domain_gap in ("small", "large")


def ratio_of_shapes(q: Question) -> float:
    """Largest ratio between pretraining and fine-tuning input over the axes; 1 when one is not stated."""
    pairs = zip(q.pretrain_shape, q.finetune_shape, strict=False)
    return max((max(a, b) / min(a, b) for a, b in pairs), default=1.0)
