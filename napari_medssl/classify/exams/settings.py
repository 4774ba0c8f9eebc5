"""How an exam classifier is built, trained and asked, and the documents' own choices by name."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from napari_medssl.classify.calibrate import CalibrationMethod
from napari_medssl.classify.exams.augment import Augmentation
from napari_medssl.classify.exams.sampling import Sampling
from napari_medssl.errors import SettingsError
from napari_medssl.evaluate.phases import Mode
from napari_medssl.models.exam_heads import HeadName
from napari_medssl.settings import setting

Balance: TypeAlias = Literal["none", "weights", "oversample", "resample"]


@dataclass(frozen=True)
class ExamSettings:
    """An exam classifier: one network per plane, each of an encoder of slices and a head."""

    head: HeadName = setting(
        "max", "How slices become one answer: max, attention, convlstm, conv3d, or divide (SSLACL's branches)."
    )
    head_width: float = setting(1.0, "Factor of the head's filters; 1 as published.", ge=0.01, le=2.0)
    norm: bool = setting(False, "Batch normalisation in the head divide; published without.", advanced=True)
    deep: bool = setting(False, "Take a ResNet's last stage (2048 channels) instead of its reduction.", advanced=True)
    encoder: str = setting("slice-resnet", "Encoder that first weights are made for, when no weights are given.")
    encoder_options: str = setting("{}", 'Its options as JSON, such as {"version": "v3", "width": 1}.')
    size: int = setting(0, "Side of the square slices in pixels; 0: as the encoder names it.", ge=0, le=1024)
    slices: int = setting(16, "Slices of an exam that are seen at a time.", ge=1, le=512)
    sampling: Sampling = setting("uniform", "How they are drawn in training.")
    test_sampling: Sampling = setting("normal", "How they are drawn when an exam is judged.")
    draws: int = setting(8, "Draws that are averaged when an exam is judged.", ge=1, le=256)
    mode: Mode = setting("frozen", "What is trained: frozen (the head), warm-up, gradual (unfreezing), full.")
    epochs: int = setting(60, "Passes through the exams.", ge=1)
    batch: int = setting(8, "Exams per step.", ge=1, le=1024)
    optimiser: Literal["adamw", "adam", "rmsprop"] = setting("adamw", "Optimiser.")
    head_rate: float = setting(1e-3, "Learning rate of the head, and of everything trained from scratch.", ge=0, le=1)
    encoder_rate: float = setting(1e-4, "Learning rate of the encoder.", ge=0, le=1)
    schedule: Literal["cosine", "exponential"] = setting("cosine", "How rates fall.")
    decay: float = setting(0.95, "Factor after each epoch, for the schedule exponential.", ge=0, le=1)
    weight_decay: float = setting(0.01, "Weight decay.", ge=0, le=1, advanced=True)
    balance: Balance = setting(
        "weights", "Against rare labels: weights in the loss, oversample or resample the exams, or none."
    )
    augment: Augmentation = setting("none", "Random changes in training: none, jigsaw (thesis 3), crop (thesis 4).")
    tuning_share: float = setting(0.2, "Share of people for thresholds and votes.", ge=0, le=0.5)
    test_share: float = setting(0.2, "Share of people whose results are reported.", ge=0, le=0.5)
    calibration: CalibrationMethod = setting(
        "temperature", "How probabilities are calibrated on the tuning part: temperature, isotonic or none."
    )
    save_every: int = setting(200, "Steps between two saved states.", ge=1, advanced=True)
    seed: int = setting(0, "Seed of parts, first weights, order, slices and changes.", ge=0)


@dataclass(frozen=True)
class ExamModelKind:
    """A kind of exam classifier. line: for people. source: where it comes from. published: its settings at the size of
    the document. small: at a size that trains on a laptop; without weights of one's own both start from first weights.
    start: weights when none are given, "" for first weights.
    """

    line: str
    source: str
    published: ExamSettings
    small: ExamSettings
    start: str = ""


_SSLACL = ExamSettings(
    head="divide", encoder="sslacl-trunk", encoder_options='{"norm": false}', slices=36, sampling="uniform",
    test_sampling="uniform", draws=1, mode="full", epochs=20, batch=1, optimiser="adam", head_rate=1e-5,
    encoder_rate=1e-5, schedule="exponential", decay=1.0, weight_decay=0.0, balance="oversample", augment="jigsaw",
)  # fmt: skip
"""Thesis 3.5.2.2: at most 36 slices, batches of 1, Adam 1e-5. Its epochs are not given (20 as SKID's), nor whether the
branches are frozen; all 77 M parameters are trained here, the number it quotes (B3-53)."""

_SKID = ExamSettings(
    head="convlstm", encoder="skid-trunk", encoder_options='{"version": "v3"}', slices=16, mode="frozen",
    epochs=20, batch=1, optimiser="rmsprop", head_rate=1e-5, encoder_rate=1e-5, schedule="exponential", decay=0.95,
    weight_decay=0.0, balance="weights", augment="jigsaw",
)  # fmt: skip
"""Thesis 3.5.2.2. Optimiser and batch are not given: RMSprop as in its pretraining (B3-33), batches of 1 as SSLACL."""

_BINARY = ExamSettings(
    head="max", deep=True, encoder="resnet50-s8", encoder_options='{"input_size": 224}', slices=16,
    test_sampling="uniform", mode="full", epochs=10, batch=4, optimiser="adam", head_rate=1e-5, encoder_rate=1e-5,
    schedule="exponential", decay=0.9, weight_decay=0.0, balance="none", augment="crop",
)  # fmt: skip
"""Thesis 4.5.2.2 with one network for all labels; nine of one label each are had by learning one label at a time."""

_MRNET = ExamSettings(
    head="max", deep=True, encoder="resnet18-s8", slices=16, mode="full", epochs=20, batch=1,
    optimiser="adam", head_rate=1e-5, encoder_rate=1e-5, schedule="exponential", decay=0.95, weight_decay=0.0,
    balance="weights", augment="jigsaw",
)  # fmt: skip
"""Bien et al., 2018, as thesis 3.5.3.1 runs it, with ResNet-18 in place of AlexNet: largest feature over slices."""


def _small(settings: ExamSettings, options: str, **changes: object) -> ExamSettings:
    """The same at a size where an epoch takes seconds; rates and balance for so few steps (ours)."""
    common: dict[str, object] = {
        "encoder_options": options, "head_width": 1 / 16, "epochs": 30, "batch": 4, "optimiser": "adamw",
        "head_rate": 2e-3, "encoder_rate": 5e-4, "schedule": "cosine", "decay": 0.95, "weight_decay": 0.01,
        "augment": "none", "slices": 8,
    }  # fmt: skip
    return replace(settings, **{**common, **changes})  # type: ignore[arg-type]


def _kinds() -> dict[str, ExamModelKind]:
    default = ExamSettings()
    lstm, cnn = _SKID, replace(_SKID, head="conv3d")
    bare = replace(_SKID, encoder_options='{"version": "noblocks"}')
    narrow = '{"version": "%s", "width": 0.03125, "input_size": 96}'
    return {
        "max": ExamModelKind("Largest feature over slices on any encoder.", "003:1364", default, default, "default"),
        "attention": ExamModelKind(
            "Attention over slices on any encoder.", "001:1151-1158", replace(default, head="attention"),
            replace(default, head="attention"), "default",
        ),
        "sslacl": ExamModelKind(
            "Divide and teach: nine branches, each its share of the slices.", "003:1318-1369", _SSLACL,
            _small(_SSLACL, '{"width": 0.03125, "norm": true, "input_size": 96}', norm=True, slices=36,
                   head_width=1 / 32, balance="weights", draws=1),
        ),
        "skid": ExamModelKind(
            "SKID trunk and two ConvLSTMs.", "003:1399-1408", lstm, _small(lstm, narrow % "v3")
        ),
        "skid-3dcnn": ExamModelKind(
            "SKID trunk and a 3D CNN.", "003:1647-1663", cnn, _small(cnn, narrow % "v3")
        ),
        "noblocks": ExamModelKind(
            "SKID without its blocks.", "003:1512-1520", bare, _small(bare, narrow % "noblocks")
        ),
        "mrnet": ExamModelKind(
            "The supervised baseline: a ResNet, largest feature over slices.", "003:1485-1518", _MRNET,
            _small(_MRNET, '{"width": 16, "input_size": 96}', head_width=1.0),
        ),
        "binary": ExamModelKind(
            "Downstream of binary contrastive learning: 16 slices, 2048 features, one linear layer.", "003:1939-2024",
            _BINARY, _small(_BINARY, '{"width": 16, "input_size": 96}', encoder="resnet18-s8", head_width=1.0,
                            balance="weights"),
        ),
    }  # fmt: skip


KINDS = _kinds()
"""Kinds of exam classifier by name."""


def kind_named(name: str) -> ExamModelKind:
    """The kind; raises SettingsError, which lists them, when there is none of that name."""
    if name not in KINDS:
        raise SettingsError(f"no exam classifier is called {name!r}; choose one of: {', '.join(KINDS)}")
    return KINDS[name]


def options_of(settings: ExamSettings) -> dict[str, object]:
    """The encoder's options; raises SettingsError when they are no JSON object."""
    try:
        values = json.loads(settings.encoder_options or "{}")
    except json.JSONDecodeError as error:
        raise SettingsError(f'encoder_options is no JSON ({error}); write for example {{"width": 0.125}}') from error
    if not isinstance(values, dict):
        raise SettingsError('encoder_options must be a JSON object, such as {"width": 0.125}')
    return values
