"""Rules on supervised, self-supervised or both, and on where to start from (R-01 to R-21)."""

from __future__ import annotations

from dataclasses import dataclass

from napari_medssl.guidance.facts import (
    FEW,
    LARGE,
    SMALL,
    few_labels,
    imbalanced,
    labels_known,
    share_of_labels,
    total,
)
from napari_medssl.guidance.question import Question
from napari_medssl.guidance.rule import Rule

SUPERVISED = "supervised"
SELF = "self-supervised, then fine-tune"
BOTH = "both, compared"
HYBRID = "hybrid: discriminative, restorative and adversarial (DiRA)"
AUTOENCODER = "plain autoencoder as the baseline"
ACTIVE = "active learning"


def _share_below(q: Question, percent: float) -> bool:
    share = share_of_labels(q)
    return share is not None and share < percent


def _very_few(q: Question) -> bool:
    share = share_of_labels(q)
    return 0 <= q.labels <= FEW or (share is not None and share <= 1.0)


def _between(q: Question) -> bool:
    count = total(q)
    return count is not None and SMALL <= count <= LARGE


def _several(q: Question) -> bool:
    return sum(rule.when(q) for rule in PARADIGM_RULES if rule.id in _ORDERED) >= 2


@dataclass(frozen=True)
class Decision:
    """Which step of R-21 answered, and what."""

    step: int
    answer: str
    why: str


def decide(q: Question) -> Decision | None:
    """The order of R-21: the pool without labels first, then the number of labels; None when neither is stated."""
    if q.unlabelled > LARGE:
        return Decision(1, SELF, f"more than {LARGE:,} images of the domain without labels (R-05, R-03)")
    if q.labels >= LARGE and q.label_quality != "noisy":
        return Decision(2, SUPERVISED, f"at least {LARGE:,} labels (R-01)")
    if few_labels(q) or (labels_known(q) and imbalanced(q)):
        why = f"fewer than {SMALL:,} labels or uneven classes: re-balance, or start from a published model"
        return Decision(3, SUPERVISED, f"{why} (R-02, R-03)")
    if labels_known(q) and q.unlabelled >= 0:
        return Decision(4, BOTH, "between the ranges the documents judge: run both as R-52 says (R-04)")
    return None


_ORDERED = frozenset(f"R-0{i}" for i in range(1, 10))

PARADIGM_RULES: tuple[Rule, ...] = (
    Rule(
        "R-01",
        "paradigm",
        f"labels are many (from {LARGE:,}) and not noisy",
        "Train a supervised baseline; self-supervision is optional.",
        "weak",
        "G 98 217 1171",
        when=lambda q: q.labels >= LARGE and q.label_quality != "noisy",
        prefers=(SUPERVISED,),
        against=("R-05",),
    ),
    Rule(
        "R-02",
        "paradigm",
        f"fewer than {SMALL:,} labels, uneven classes, and nothing but this small set to pretrain on",
        "Train supervised with re-balancing and augmentation; do not expect self-supervision to win.",
        "medium",
        "G 666 1216 1296 1473 1502 1617",
        when=lambda q: few_labels(q) and imbalanced(q) and 0 <= q.unlabelled < SMALL,
        prefers=(SUPERVISED,),
        avoids=(SELF,),
        against=("R-03", "R-06", "R-47"),
    ),
    Rule(
        "R-03",
        "paradigm",
        f"fewer than {SMALL:,} labels, but more than {LARGE:,} images of the domain without labels",
        "Pretrain on the large pool, then fine-tune.",
        "weak",
        "G 1216 242 1474 1670",
        when=lambda q: few_labels(q) and q.unlabelled > LARGE,
        prefers=(SELF,),
        against=("R-02",),
    ),
    Rule(
        "R-04",
        "paradigm",
        f"{SMALL:,} to {LARGE:,} images in all",
        "Undecided: the documents do not judge this range. Run both and compare them as R-52 says.",
        "weak",
        "G 1216 1217",
        when=_between,
        prefers=(BOTH,),
    ),
    Rule(
        "R-05",
        "paradigm",
        f"more than {LARGE:,} images of the same domain without labels",
        "Self-supervision is competitive or ahead.",
        "medium",
        "G 1217 1296 1502 1670 1413",
        when=lambda q: q.unlabelled > LARGE,
        prefers=(SELF,),
        against=("R-01",),
        counter="G 1413 says of the same OCT set that supervised was ahead; four other places of G say the opposite.",
    ),
    Rule(
        "R-06",
        "paradigm",
        "less than half of the images has labels",
        "The gain of self-supervision can be clear; it is largest at 1 to 10 % of the labels.",
        "strong",
        "D 214 526; G 611 1671 1615",
        when=lambda q: _share_below(q, 50.0),
        prefers=(SELF,),
        against=("R-02",),
    ),
    Rule(
        "R-07",
        "paradigm",
        "(nearly) all images have labels (from 95 %)",
        "Expect less than one point from self-supervision, perhaps a loss.",
        "strong",
        "D 214 526",
        when=lambda q: (share_of_labels(q) or 0.0) >= 95.0,
        avoids=(SELF,),
    ),
    Rule(
        "R-08",
        "paradigm",
        f"very few labels (up to {FEW}, or 1 %) and compute to spare",
        "A hybrid of discriminative, restorative and adversarial learning gained 1.56 to 12.55 % AUC at 1 % of the "
        "labels (DiRA, chest X-ray). Not built here; PCRL is the nearest.",
        "weak",
        "G 611 675",
        when=lambda q: _very_few(q) and q.compute == "enough",
        prefers=(HYBRID,),
    ),
    Rule(
        "R-09",
        "paradigm",
        "the task is reconstruction or enhancement",
        "Self-supervision (zero-shot).",
        "weak",
        "G 1672 1731",
        when=lambda q: q.task == "reconstruction",
        prefers=(SELF,),
    ),
    Rule(
        "R-10",
        "paradigm",
        "the task is to find anomalies, and pretraining is not possible",
        "Begin with a plain autoencoder before any self-supervised detector.",
        "medium",
        "G 902",
        when=lambda q: q.task == "anomaly" and (q.weights == "none" or q.unlabelled == 0),
        prefers=(AUTOENCODER,),
        avoids=(SELF,),
    ),
    Rule(
        "R-11",
        "pretext",
        "the model must work out of its distribution or on other scanners",
        "DINO or counterfactual contrastive learning; compare with a supervised ResNet all the same "
        "(across domains 95 % against SimCLR's 91 %).",
        "weak",
        "G 431 674 1603-1638",
        when=lambda q: q.task == "ood" or "cross-scanner" in q.plans,
        prefers=("dino",),
        counter="G 1632 sees no decisive advantage of self-supervision across domains.",
    ),
    Rule(
        "R-12",
        "start",
        "data are scarce, the network is a 2D CNN and ImageNet weights are at hand",
        "Start self-supervised pretraining from the ImageNet weights, not from random ones.",
        "medium",
        "T 646 2032",
        when=lambda q: (
            q.weights == "imagenet"
            and q.dims == "2D"
            and q.architecture in ("unknown", "CNN")
            and max(q.labels, q.unlabelled) < SMALL
            and max(q.labels, q.unlabelled) >= 0
        ),
        prefers=("ImageNet weights",),
        against=("R-13",),
    ),
    Rule(
        "R-13",
        "start",
        f"at least {SMALL:,} images of the target's own distribution without labels",
        "Pretrain on the target's distribution: ImageNet's differs, and features adapted to each other are lost when "
        "it is fine-tuned.",
        "weak",
        "T 612 1123; G 290",
        when=lambda q: q.unlabelled >= SMALL and q.domain_gap != "large",
        prefers=("the target's own distribution",),
        against=("R-12", "R-14"),
    ),
    Rule(
        "R-14",
        "start",
        "a larger set of another source is at hand beside the target's own",
        "Pretrain on the larger set: with SKID, MRNet for KneeMRI gave AUC .761, KneeMRI itself .741.",
        "medium",
        "T 1550-1552",
        when=lambda q: q.larger_foreign_set == "yes",
        prefers=("the larger set",),
        against=("R-13",),
        counter="SSLACL shows the opposite: .6799 from MRNet, .740 from KneeMRI itself (T 1528-1548).",
    ),
    Rule(
        "R-15",
        "start",
        "pretraining data are of another modality than the target's",
        "Beware of the mismatch; prefer the same modality.",
        "weak",
        "G 242 290",
        when=lambda q: q.same_modality == "no",
        prefers=("data of the same modality",),
    ),
    Rule(
        "R-16",
        "pretext",
        "volumes, and memory enough",
        "Prefer a 3D pretext over slices.",
        "weak",
        "D 107",
        when=lambda q: q.dims == "3D" and q.compute == "enough",
        prefers=("3D",),
        against=("R-17",),
    ),
    Rule(
        "R-17",
        "pretext",
        "volumes with a label per scan, and little memory",
        "Pretrain on slices in 2D and join the slices of a scan by attention (multiple-instance learning).",
        "medium",
        "G 290 1151-1158 1708-1716",
        when=lambda q: q.dims == "3D" and q.labels_for == "scans" and q.compute == "limited",
        prefers=("2D",),
        against=("R-16",),
    ),
    Rule(
        "R-18",
        "pretext",
        "always, unless the method is chosen already",
        "No method is ahead on every target: take this as a list to try from the top, not as the one best method.",
        "strong",
        "D 222; R 13; G 551",
        when=lambda q: not q.method,
        against=("R-26",),
    ),
    Rule(
        "R-19",
        "pretext",
        "the anatomy itself can be the pretext (order of slices, geometry of planes)",
        "Rank such a pretext above a general one. Of those here the superpixel episodes are made for their target.",
        "weak",
        "R 13; G 1056 1072-1084",
        when=lambda q: "anatomy-pretext" in q.plans,
    ),
    Rule(
        "R-20",
        "paradigm",
        "money for labels is the limit, and there is no pool to pretrain on",
        "Let the model choose what to label next: active learning.",
        "weak",
        "G 98 102 1535",
        when=lambda q: q.annotation_budget == "binding" and 0 <= q.unlabelled < SMALL,
        prefers=(ACTIVE,),
    ),
    Rule(
        "R-21",
        "paradigm",
        "several of R-01 to R-09 apply",
        f"Decide in this order: (1) more than {LARGE:,} images of the domain without labels: self-supervised; else (2) "
        f"many labels: supervised; else (3) fewer than {SMALL:,} or uneven: supervised with re-balancing, or a "
        "published self-supervised model; else (4) run both.",
        "ours",
        "G 98 217 1171 1276 1731",
        when=_several,
        counter="The five charts of G ask in different orders and can answer otherwise.",
    ),
)
