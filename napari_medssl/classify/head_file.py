"""Heads on disk: a safetensors file that holds everything, and a JSON file beside it for people to read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from napari_medssl.classify.slices.bags import BagScorer
from napari_medssl.classify.slices.calibration import Calibration
from napari_medssl.classify.slices.head import Scorer, SliceHead
from napari_medssl.classify.slices.height import BodyHeight
from napari_medssl.classify.slices.linear import LinearScorer
from napari_medssl.classify.slices.neighbours import NeighbourScorer
from napari_medssl.classify.slices.profile import HeightProfile
from napari_medssl.classify.slices.space import Space
from napari_medssl.classify.slices.template import BodyTemplate
from napari_medssl.classify.slices.vectors import POOLING, EncoderFacts
from napari_medssl.errors import FormatError
from napari_medssl.io.atomic import replacing
from napari_medssl.report import environment, plain

Arrays = dict[str, npt.NDArray[Any]]
Facts = dict[str, Any]

FORMAT = 1
SUFFIX = ".safetensors"
SLICES = "slices"
_NAME = "head" + SUFFIX
_SCORERS: dict[str, type[Scorer]] = {
    "logistic": LinearScorer, "knn": NeighbourScorer, "attention": BagScorer, "max": BagScorer,
}  # fmt: skip


def head_path(path: Path) -> Path:
    """The file of a head that is named by its folder or itself; a name without our ending gets it."""
    if path.is_dir():
        return path / _NAME
    return path if path.name.endswith(SUFFIX) else path.with_name(path.name + SUFFIX)


def card_path(path: Path) -> Path:
    """Where the facts of a head lie for people to read: `liver.safetensors` has `liver.json`."""
    return path.with_name(path.name.removesuffix(SUFFIX) + ".json")


def save_head(path: Path, head: SliceHead, card: Mapping[str, Any] | None = None) -> Path:
    """Write a head to a folder (as `head.safetensors`) or file, and its facts beside it as JSON; both or none.

    card: facts to add, such as names of the scans; plain JSON values. Returns the file written.

    Raises FormatError when the place cannot be written to.
    """
    facts: Facts = {
        "name": head.name, "classes": list(head.classes), "marks": head.kind, "pooling": POOLING,
        "height": head.space.height is not None, "centred": head.space.centred, "notes": list(head.notes),
        "thresholds": head.threshold_of, "card": {**environment(), **head.card, **(card or {})},
    }  # fmt: skip
    return write_head_file(path, SLICES, _arrays(head), facts, encoder=head.encoder)


def load_head(path: Path, *, encoder: EncoderFacts | None = None) -> SliceHead:
    """The head of a folder or file.

    encoder: that its vectors will come from, refused at once when it is another; None: found out when scoring.

    Raises FormatError when there is no head of slices or it is damaged, WeightsError for another encoder.
    """
    path = head_path(path)
    arrays, facts, own = read_head_file(path, SLICES)
    if encoder is not None:
        own.refuse_other(encoder, what=f"the head {path.name}")
    try:
        if facts["pooling"] != POOLING:
            raise FormatError(f"{path} was learned on slices pooled in another way; learn it again with this version")
        return _head(arrays, facts, own)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise FormatError(f"the head {path} is damaged ({error!r}); learn it again") from error


def write_head_file(path: Path, kind: str, arrays: Arrays, facts: Mapping[str, Any], *, encoder: EncoderFacts) -> Path:
    """Write arrays and facts of a head of some kind. Returns the file; raises FormatError when it cannot be written."""
    path = head_path(path)
    told = {"format": FORMAT, "kind": kind, "encoder": asdict(encoder), **plain(facts)}
    content = save({k: np.ascontiguousarray(v) for k, v in arrays.items()}, metadata={"head": json.dumps(told)})
    with replacing(path, card_path(path)) as (file, card):
        file.write_bytes(content)
        card.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_head_file(path: Path, kind: str) -> tuple[Arrays, Facts, EncoderFacts]:
    """Arrays, facts and encoder of a head of this kind. Raises FormatError when it is none or cannot be read."""
    path = head_path(path)
    if not path.is_file():
        raise FormatError(f"no head at {path}; give the file or folder that it was saved to")
    try:
        with safe_open(str(path), framework="numpy") as f:
            told = (f.metadata() or {}).get("head")
            arrays = {key: f.get_tensor(key) for key in f.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path} is not a readable safetensors file ({error}); learn the head again") from error
    if told is None:
        raise FormatError(f"{path} holds no head; weights of encoders are given with --weights instead")
    try:
        facts = json.loads(told)
        encoder = EncoderFacts(**facts["encoder"])
        found, version = facts["kind"], facts["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"the head {path} is damaged ({error!r}); learn it again") from error
    if version != FORMAT:
        raise FormatError(f"the head {path} has format {version}; this version reads {FORMAT}")
    if found != kind:
        raise FormatError(f"{path} is a head for {found}, not for {kind}; choose another file")
    return arrays, facts, encoder


def _arrays(head: SliceHead) -> Arrays:
    space, calibration = head.space, head.calibration
    found: Arrays = {
        "space.mean": space.mean, "space.deviation": space.deviation, "calibration.scale": calibration.scale,
        "calibration.shift": calibration.shift, "calibration.fitted": calibration.fitted.astype(np.uint8),
        "thresholds": head.thresholds,
    }  # fmt: skip
    if space.height is not None:
        found |= {"height.weight": space.height.weight, "height.centres": space.height.centres}
        found |= {f"template.{f.name}": getattr(space.height.template, f.name) for f in fields(BodyTemplate)}
    if head.profile is not None:
        found |= {"profile.start_mm": head.profile.start_mm, "profile.log_odds": head.profile.log_odds}
    return found | {f"scorer.{name}": array for name, array in head.scorer.arrays().items()}


def _head(arrays: Arrays, facts: Facts, encoder: EncoderFacts) -> SliceHead:
    height = _height(arrays) if facts["height"] else None
    start = arrays.get("profile.start_mm")
    profile = None if start is None else HeightProfile(start, arrays["profile.log_odds"])
    calibration = Calibration(
        arrays["calibration.scale"], arrays["calibration.shift"], arrays["calibration.fitted"].astype(bool)
    )
    prefix = "scorer."
    own = {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
    classes, thresholds = tuple(map(str, facts["classes"])), arrays["thresholds"]
    if not len(classes) == len(thresholds) == len(calibration.scale):
        raise ValueError(f"{len(classes)} classes with {len(thresholds)} thresholds")
    return SliceHead(
        cast("Any", facts["name"]), classes, cast("Any", facts["marks"]),
        Space(arrays["space.mean"], arrays["space.deviation"], height, bool(facts["centred"]), encoder),
        _SCORERS[facts["name"]].from_arrays(own), calibration, thresholds, tuple(facts["notes"]), facts["card"],
        profile,
    )  # fmt: skip


def _height(arrays: Arrays) -> BodyHeight:
    template = BodyTemplate(*(arrays[f"template.{f.name}"] for f in fields(BodyTemplate)))
    return BodyHeight(arrays["height.weight"], arrays["height.centres"], template)
