"""The facts about a task that the rules ask for."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal, TypeAlias

from napari_medssl.errors import SettingsError
from napari_medssl.guidance.methods import METHODS
from napari_medssl.settings import check, setting

YesNo: TypeAlias = Literal["unknown", "yes", "no"]
Task: TypeAlias = Literal[
    "unknown", "classification", "segmentation", "one-shot", "detection", "reconstruction", "anomaly", "ood"
]
Modality: TypeAlias = Literal["unknown", "MR", "CT", "X-ray", "ultrasound", "OCT", "fundus", "microscopy", "other"]

NOT_STATED = -1

PLANS: dict[str, str] = {
    "comparison": "compare supervised with self-supervised training",
    "cross-scanner": "use the model on scanners or hospitals it has not seen",
    "anatomy-pretext": "use the anatomy in the pretext: order of slices, geometry of planes",
    "mix": "mix images (MixUp, CutMix ...)",
    "warm-up": "fine-tune after a warm-up of the head",
    "checkpoint-choice": "choose among checkpoints without labels",
    "pretext-accuracy": "choose by the accuracy of the pretext task",
    "model-size": "choose the size of the network",
    "epochs": "choose the length of pretraining",
    "temperature-function": "write a temperature function of your own",
    "temperature-profile": "choose a DySTreSS profile",
    "separate-features": "features that tell single images apart",
    "grouped-features": "features that keep images of a class together",
    "query-labels": "take the range or quadrants of an organ from the query's own labels",
    "ensemble": "weigh the models of an ensemble by their accuracy",
    "interval": "quote a confidence interval",
}
"""What a person may plan, by the word on the command line."""


@dataclass(frozen=True)
class Question:
    """A task as far as it is known; every fact may stay "unknown", -1 (numbers), 0 (ratios) or empty.

    Rules ask stated facts only: what is not stated makes no rule apply. Labels and scans without labels are counted
    as the sources count them, in images or in scans, one per examination, not in slices of the same scan.
    """

    task: Task = setting("unknown", "What the model is for; one-shot is segmentation from one labelled scan.")
    modality: Modality = setting("unknown", "Kind of image.")
    dims: Literal["unknown", "2D", "3D"] = setting("unknown", "Slices or single images (2D), or whole volumes (3D).")
    labels: int = setting(NOT_STATED, "Labelled images or scans.", ge=NOT_STATED)
    unlabelled: int = setting(NOT_STATED, "Images or scans of the same domain without labels.", ge=NOT_STATED)
    imbalance: float = setting(0.0, "Majority cases per minority case: 20 means 1 : 20.", ge=0.0)
    compute: Literal["unknown", "limited", "enough"] = setting("unknown", "Memory and computing time.", advanced=True)
    domain_gap: Literal["unknown", "none", "small", "large"] = setting(
        "unknown", "How far the target data lie from the pretraining data; large: other anatomy."
    )
    object_size: Literal["unknown", "small", "medium", "large"] = setting(
        "unknown", "Size of what is to be found.", advanced=True
    )
    organ: Literal["unknown", "right kidney", "left kidney", "liver", "spleen", "other"] = setting(
        "unknown", "Organ of a one-shot segmentation.", advanced=True
    )
    goal: Literal["unknown", "accuracy", "prototype", "recall", "precision"] = setting(
        "unknown", "What matters most; prototype: a first result soon.", advanced=True
    )
    batch: int = setting(NOT_STATED, "Largest batch that fits.", ge=NOT_STATED, advanced=True)
    method: str = setting("", "A method you have in mind, by its name on the command line.")
    region: Literal["unknown", "brain", "knee", "chest", "abdomen", "other"] = setting(
        "unknown", "Part of the body.", advanced=True
    )
    label_percent: float = setting(
        -1.0,
        "Share of the images that has labels, in percent; -1: from the two counts.",
        ge=-1.0,
        le=100.0,
        advanced=True,
    )
    label_quality: Literal["unknown", "good", "noisy"] = setting("unknown", "Quality of the labels.", advanced=True)
    labels_for: Literal["unknown", "voxels", "slices", "scans"] = setting(
        "unknown", "What one label belongs to.", advanced=True
    )
    positives: int = setting(
        NOT_STATED, "Cases of the rarest class; -1: from labels and imbalance.", ge=NOT_STATED, advanced=True
    )
    same_modality: YesNo = setting("unknown", "Pretraining data are of the target's modality.", advanced=True)
    larger_foreign_set: YesNo = setting(
        "unknown", "A larger set of another source is at hand beside the target's own.", advanced=True
    )
    round_target: YesNo = setting("unknown", "Targets look alike from all sides, such as nodules.", advanced=True)
    background: Literal["unknown", "little", "much"] = setting("unknown", "Empty area of the images.", advanced=True)
    slices: int = setting(NOT_STATED, "Slices per scan.", ge=NOT_STATED, advanced=True)
    planes: int = setting(NOT_STATED, "Planes per examination (sagittal, coronal ...).", ge=NOT_STATED, advanced=True)
    classes: int = setting(NOT_STATED, "Classes of the target task.", ge=NOT_STATED, advanced=True)
    orientation_known: YesNo = setting("unknown", "Patient sides are known from the file.", advanced=True)
    augmentation: Literal["unknown", "none", "weak", "strong"] = setting(
        "unknown", "Augmentation in fine-tuning.", advanced=True
    )
    resampling: YesNo = setting("unknown", "Classes are resampled in fine-tuning.", advanced=True)
    architecture: Literal["unknown", "CNN", "U-Net", "ViT"] = setting("unknown", "Kind of network.", advanced=True)
    weights: Literal["own", "none", "imagenet", "foundation"] = setting(
        "own",
        "Weights to start from; own: pretrained by yourself, none: pretraining is not possible, "
        "foundation: a large published self-supervised model.",
        advanced=True,
    )
    temperature: float = setting(0.0, "Temperature of a contrastive loss; 0: not chosen.", ge=0.0, advanced=True)
    grid: int = setting(NOT_STATED, "Tiles per side of a jigsaw.", ge=NOT_STATED, advanced=True)
    annotation_budget: Literal["unknown", "binding", "free"] = setting(
        "unknown", "Whether the money for labels is the limit.", advanced=True
    )
    annotators: YesNo = setting("unknown", "People will label.", advanced=True)
    pretrain_shape: tuple[int, ...] = setting((), "Input of pretraining in voxels, Z,Y,X or Y,X.", advanced=True)
    finetune_shape: tuple[int, ...] = setting((), "Input of fine-tuning in voxels, Z,Y,X or Y,X.", advanced=True)
    plans: tuple[str, ...] = setting((), "What you plan: " + ", ".join(PLANS) + ".", advanced=True)


def check_question(question: Question) -> None:
    """Raise SettingsError for a value out of its limits, an unknown method or plan, or shapes that do not fit."""
    check(question)
    if question.method:
        _known("method", question.method, tuple(METHODS))
    for plan in question.plans:
        _known("plan", plan, tuple(PLANS))
    for name in ("pretrain_shape", "finetune_shape"):
        shape = getattr(question, name)
        if any(edge < 1 for edge in shape):
            raise SettingsError(f"{name} is {shape}; every edge must be at least 1 voxel")
    first, second = question.pretrain_shape, question.finetune_shape
    if first and second and len(first) != len(second):
        raise SettingsError(
            f"pretrain_shape {first} and finetune_shape {second} differ in dimensions; give both as Z,Y,X or as Y,X"
        )


def _known(kind: str, name: str, names: tuple[str, ...]) -> None:
    if name in names:
        return
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"did you mean {close[0]!r}?" if close else f"choose one of: {', '.join(sorted(names))}"
    raise SettingsError(f"no {kind} is called {name!r}; {hint}")
