"""One training per fold and group of organs, done once; its weights say what they must not be used for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from napari_medssl.errors import SettingsError
from napari_medssl.evaluate.cowpro.protocol import Fold
from napari_medssl.evaluate.cowpro.settings import ReproductionSettings, training_facts
from napari_medssl.evaluate.cowpro.variants import Head
from napari_medssl.io.atomic import replacing
from napari_medssl.models.bundle import file_sha256, load_bundle, module_bundle, save_bundle
from napari_medssl.progress import Progress, Steps, reporting
from napari_medssl.train.dataset import Case
from napari_medssl.train.method import find_method
from napari_medssl.train.methods.cowpro import CowproSettings
from napari_medssl.train.trainer import build_recipe, pretrain

USE = "benchmark only: trained on the very data set it is measured on; not to be shipped, and under that data's licence"
_HEADS: tuple[Head, ...] = ("cowpro", "alpnet", "panet")


@dataclass(frozen=True)
class Training:
    """One encoder to train. organs: those it is asked for. heads: the methods it serves; the first one trains it."""

    fold: Fold
    organs: tuple[int, ...]
    heads: tuple[Head, ...]
    settings: CowproSettings

    @property
    def name(self) -> str:
        """Of its folder, and of its weights file, in the folder of the reproduction."""
        labels = "_".join(map(str, self.organs))
        head = "" if self.heads[0] == "cowpro" else f"_{self.heads[0]}"
        return f"fold_{self.fold.number}/organs_{labels}{head}"

    def weights(self, out: Path) -> Path:
        """The finished weights, once they are there."""
        return out / f"{self.name}.safetensors"


def trainings_of(fold: Fold, groups: Sequence[tuple[int, ...]], settings: ReproductionSettings) -> list[Training]:
    """The trainings of a fold: one for each group of organs, whose slices it never sees, or one for all of them.

    With heads "own" as many again for each of the two baselines.
    """
    parts = groups if settings.exclude == "group" else [tuple(v for g in groups for v in g)]
    heads = [_HEADS] if settings.heads == "shared" else [(head,) for head in _HEADS]
    return [Training(fold, organs, h, _settings(settings, organs, h[0])) for h in heads for organs in parts]


def _settings(settings: ReproductionSettings, organs: tuple[int, ...], head: Head) -> CowproSettings:
    train = settings.train
    exclude = " ".join(map(str, organs)) if settings.exclude == "group" else ""
    if head != "cowpro":
        prototypes = dataclasses.replace(train.episodes.prototypes, method=head)
        train = dataclasses.replace(train, episodes=dataclasses.replace(train.episodes, prototypes=prototypes))
    return dataclasses.replace(train, exclude_labels=exclude)


def train_steps(training: Training, out: Path, *, device: torch.device) -> Steps[Path]:
    """The weights of a training; a finished one is not done again, an interrupted one goes on.

    The state of a finished run is removed: it is three times the weights, and its settings cannot change any more.
    """
    marked = training.weights(out)
    if marked.is_file():
        return marked
    label = f"fold {training.fold.number}, for organs {' '.join(map(str, training.organs))}"

    def named(progress: Progress) -> Progress:
        return dataclasses.replace(progress, label=f"{label}: {progress.label}")

    folder = out / training.name
    steps = pretrain(training.fold.train, folder, "cowpro", training.settings, device=device, cache=out / "scans")
    made = yield from reporting(steps, named)
    bundle = load_bundle(made)
    facts = {"use": USE, "fold": training.fold.number, "tested_on": [c.image.name for c in training.fold.test]}
    save_bundle(marked, dataclasses.replace(bundle, card=facts | bundle.card))
    for file in (made, folder / "state.safetensors"):
        file.unlink(missing_ok=True)
    return marked


def untrained_weights(training: Training, out: Path) -> Path:
    """The encoder of a training as it is before the first step."""
    path = out / "untrained.safetensors"
    if path.is_file():
        return path
    recipe = build_recipe(find_method("cowpro"), training.settings)
    card = {"use": USE, "recipe": "first weights, never trained"}
    save_bundle(path, module_bundle("encoder", recipe.encoder_name, recipe.objective.encoder, card))
    return path


def check_plan(out: Path, cases: Sequence[Case], settings: ReproductionSettings) -> None:
    """Write down what is trained in this folder, or see that it is the same as what was begun.

    Raises SettingsError when other settings or scans were begun there.
    """
    path = out / "plan.json"
    now = {"scans": _hashes(cases), **_flat(training_facts(settings))}
    if not path.is_file():
        with replacing(path) as (part,):
            part.write_text(json.dumps(now, indent=2))
        return
    try:
        then = json.loads(path.read_text())
    except ValueError as error:
        raise SettingsError(f"{path} is damaged ({error}); remove the folder, or choose another one") from error
    differ = [k for k in {**now, **then} if now.get(k) != then.get(k)]
    if differ:
        said = ", ".join("other scans" if k == "scans" else f"{k} {then.get(k)} (now {now.get(k)})" for k in differ)
        raise SettingsError(f"the trainings in {out} were begun with {said}; use the same, or another folder")


def _hashes(cases: Sequence[Case]) -> dict[str, list[str]]:
    """Short hashes of image and label map by name."""
    return {c.image.name: [file_sha256(p)[:16] for p in (c.image, c.labels) if p and p.is_file()] for c in cases}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat
