"""The published self-supervised training of an encoder: superpixel episodes, no labels (thesis 7.4.1).

`train_cowpro` trains on a set of scans and writes a weights file; `adapt_encoder` trains briefly on the scan at hand.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.models import feature_bank, resnet, slice_encoder  # noqa: F401  # registers the encoders
from napari_medssl.models.bundle import Bundle, load_bundle, load_module, save_bundle
from napari_medssl.models.encoder import build_encoder
from napari_medssl.models.published_weights import load_published
from napari_medssl.oneshot.episodes import EpisodeSettings, EpisodeSource, batch_features, episode_loss
from napari_medssl.progress import Progress, Steps
from napari_medssl.settings import check, to_dict
from napari_medssl.train.checkpoint import RunState, resume_run, save_run
from napari_medssl.train.cowpro_settings import AdaptSettings, CowproTrainSettings
from napari_medssl.train.dataset import Case, data_facts, frame_volume, load_framed_steps
from napari_medssl.train.loop import DivergedError
from napari_medssl.train.optim import SgdSettings, apply_gradient, make_sgd, rate_at
from napari_medssl.train.pseudo_masks import cache_in, cases_of, episode_volumes, parse_labels
from napari_medssl.train.run_log import RunLog
from napari_medssl.volume import Volume

__all__ = ["AdaptSettings", "Adapted", "CowproTrainSettings", "adapt_encoder", "train_cowpro"]

_BAD_STEPS = 20  # steps in a row without a finite gradient before the run is given up
_MAY_CHANGE = ("iterations", "save_every", "log_every")  # between the parts of one run
_COLUMNS = ("step", "loss", "ssl", "cyclic", "dice", "learning_rate", "skipped", "seconds")


@dataclass
class _Means:
    """Running sums since the last row of the log."""

    sums: list[float] = field(default_factory=lambda: [0.0] * 4)
    count: int = 0
    skipped: int = 0

    def add(self, values: Sequence[float]) -> None:
        self.sums = [a + b for a, b in zip(self.sums, values, strict=True)]
        self.count += 1

    def row(self) -> list[float]:
        return [s / self.count if self.count else float("nan") for s in self.sums]


def train_cowpro(
    paths: Sequence[Path],
    out: Path,
    settings: CowproTrainSettings | None = None,
    *,
    device: torch.device | str = "cpu",
) -> Steps[Path]:
    """Train an encoder on superpixel episodes; returns the weights file `out/encoder.safetensors`.

    paths: scans (files or DICOM folders); those that cannot be read are named in the log and left out.
    out: folder for the weights, `log.csv`, `state.safetensors` and the cache of superpixels. A run found there goes on
    with the same settings (only `iterations`, `save_every` and `log_every` may change); on the CPU, interrupted and
    resumed training gives the same weights as uninterrupted training. Closing the generator saves the state first.

    Yields Progress while reading, cutting superpixels and after every step.
    Raises SettingsError, FormatError (no usable scan) and WeightsError; DivergedError when no step has had a finite
    gradient for a while (single steps without one are skipped and counted).
    """
    settings = settings or CowproTrainSettings()
    check(settings)
    exclude = parse_labels(settings.exclude_labels)
    encoder, start = _starting_encoder(settings)
    out.mkdir(parents=True, exist_ok=True)
    framed = yield from load_framed_steps(cases_of(paths), settings.size)
    volumes = yield from episode_volumes(framed, settings.superpixels, exclude=exclude, cache=cache_in(out))
    source = EpisodeSource(volumes, settings.episodes, context=encoder.in_slices, stride=encoder.stride)
    run = _Run(encoder.to(device), source, settings, out)
    facts = yield from run.steps()
    return _save_weights(
        out / "encoder.safetensors", encoder, settings, {"start": start, **facts}, [f.case for f in framed]
    )


class _Run:
    """A training run that can be interrupted between any two steps."""

    def __init__(self, encoder: nn.Module, source: EpisodeSource, settings: CowproTrainSettings, out: Path) -> None:
        self.encoder, self.source, self.settings = encoder, source, settings
        self.optimiser = make_sgd(encoder.parameters(), settings.sgd)
        self.rng = np.random.default_rng(settings.seed)
        self.path, self.log_path = out / "state.safetensors", out / "log.csv"
        self.step, self.earlier, self.began = 0, 0.0, time.monotonic()
        self.means, self.total_skipped, self.bad_in_a_row = _Means(), 0, 0
        self.last_row = [float("nan")] * 4

    def steps(self) -> Steps[dict[str, Any]]:
        """Train to the last iteration; returns facts for the model card."""
        self._resume()
        log = RunLog(self.log_path, _COLUMNS, step=self.step)
        _train_mode(self.encoder, freeze_norm=self.settings.freeze_norm)
        try:
            while self.step < self.settings.iterations:
                self._advance(log)
                yield Progress(self.step, self.settings.iterations, self._label())
        except GeneratorExit:  # the caller stops asking, between two steps: nothing of the run is lost
            self._save()
            raise
        self._save()
        self.encoder.eval()
        names = ("loss", "ssl", "cyclic", "dice")
        facts = {name: round(value, 5) for name, value in zip(names, self.last_row, strict=True)}
        return {"iterations": self.step, "skipped": self.total_skipped, "seconds": round(self._seconds(), 1), **facts}

    def _advance(self, log: RunLog) -> None:
        values, finite = train_step(
            self.encoder, self.optimiser, self.source, self.rng, self.settings.episodes, self.settings.sgd,
            step=self.step, batch=self.settings.batch,
        )  # fmt: skip
        self.step += 1
        self._count(values, finite)
        if self.step % self.settings.log_every == 0 or self.step == self.settings.iterations:
            self.last_row = self.means.row()
            rate = rate_at(self.step - 1, self.settings.sgd)
            log.add(self.step, [*self.last_row, rate, self.means.skipped, self._seconds()])
            self.means = _Means()
        if self.step % self.settings.save_every == 0:
            self._save()

    def _count(self, values: Sequence[float], finite: bool) -> None:
        if finite:
            self.means.add(values)
            self.bad_in_a_row = 0
            return
        self.means.skipped += 1
        self.total_skipped += 1
        self.bad_in_a_row += 1
        if self.bad_in_a_row >= _BAD_STEPS:
            raise DivergedError(
                f"the loss or its gradient was not finite in {_BAD_STEPS} steps up to step {self.step}; "
                "lower sgd.learning_rate or set sgd.clip_norm, and begin in another folder"
            )

    def _label(self) -> str:
        row = self.last_row if self.means.count == 0 else self.means.row()
        return f"training, loss {row[0]:.3f}, Dice {row[3]:.2f}"

    def _seconds(self) -> float:
        return self.earlier + time.monotonic() - self.began

    def _save(self) -> None:
        facts = {
            "sums": self.means.sums, "count": self.means.count, "skipped": self.means.skipped,
            "total_skipped": self.total_skipped, "bad_in_a_row": self.bad_in_a_row, "last_row": self.last_row,
        }  # fmt: skip
        state = RunState(self.step, self._seconds(), to_dict(self.settings), facts)
        save_run(self.path, state, model=self.encoder, optimiser=self.optimiser, rng=self.rng)

    def _resume(self) -> None:
        state = resume_run(
            self.path,
            to_dict(self.settings),
            model=self.encoder,
            optimiser=self.optimiser,
            rng=self.rng,
            may_change=_MAY_CHANGE,
        )
        if state is None:
            return
        self.step, self.earlier = state.step, state.seconds
        facts = state.facts
        self.means = _Means(list(facts["sums"]), facts["count"], facts["skipped"])
        self.total_skipped, self.bad_in_a_row = facts["total_skipped"], facts["bad_in_a_row"]
        self.last_row = list(facts["last_row"])


def train_step(
    encoder: nn.Module,
    optimiser: torch.optim.SGD,
    source: EpisodeSource,
    rng: np.random.Generator,
    episodes: EpisodeSettings,
    sgd: SgdSettings,
    *,
    step: int,
    batch: int = 1,
) -> tuple[list[float], bool]:
    """One optimiser step on `batch` new episodes: mean (loss, ssl, cyclic, Dice), and whether it was taken."""
    drawn = [source.draw(rng).to(next(encoder.parameters()).device) for _ in range(batch)]
    supports, queries = batch_features(encoder, drawn)
    stride = int(encoder.stride)  # type: ignore[arg-type]  # of the Encoder protocol
    losses = [episode_loss(s, q, e, episodes, stride=stride) for s, q, e in zip(supports, queries, drawn, strict=True)]
    total = torch.stack([loss.total for loss in losses]).mean()
    finite = apply_gradient(optimiser, total, step, sgd)
    rows = np.array(
        [[float(x.total.detach()), float(x.ssl.detach()), float(x.cyclic.detach()), x.dice] for x in losses]
    )
    return rows.mean(0).tolist(), finite


@dataclass(frozen=True, eq=False)
class Adapted:
    """An encoder after a short training on a scan, in eval mode.

    encoder: the adapted copy, or the one given when the copy was not better. kept: whether it is the copy.
    before, after: mean Dice of held-out superpixel episodes with either.
    """

    encoder: nn.Module
    kept: bool
    before: float
    after: float


def adapt_encoder(
    encoder: nn.Module,
    volumes: Sequence[Volume],
    settings: AdaptSettings | None = None,
    *,
    device: torch.device | str = "cpu",
) -> Steps[Adapted]:
    """Train a copy of `encoder` for a short while on these scans alone; no labels are needed.

    The copy replaces the encoder only when it finds superpixels in changed slices at least as well on episodes kept for
    that (the same ones before and after). Statistics of normalisation layers stay as they are: one scan is too little
    to estimate them.

    Yields Progress. Raises SettingsError when the encoder has nothing to train, FormatError when no slice is usable.
    """
    settings = settings or AdaptSettings()
    check(settings)
    _require_trainable(encoder, type(encoder).__name__)
    copied: Any = copy.deepcopy(encoder).to(device).requires_grad_(True)
    framed = [frame_volume(Case(v.source or Path(), None, ""), v, None, copied.input_size) for v in volumes]
    slices = yield from episode_volumes(framed, settings.superpixels)
    source = EpisodeSource(slices, settings.episodes, context=copied.in_slices, stride=copied.stride)
    before = held_out_dice(copied, source, settings)
    sgd = SgdSettings(learning_rate=settings.learning_rate, clip_norm=1.0)
    optimiser, rng = make_sgd(copied.parameters(), sgd), np.random.default_rng(settings.seed)
    _train_mode(copied, freeze_norm=True)
    for step in range(settings.iterations):
        yield Progress(step, settings.iterations, "adapting to the scan")
        train_step(copied, optimiser, source, rng, settings.episodes, sgd, step=step)
    after = held_out_dice(copied.eval(), source, settings)
    kept = after >= before
    return Adapted(copied.requires_grad_(False) if kept else encoder, kept, before, after)


def held_out_dice(encoder: nn.Module, source: EpisodeSource, settings: AdaptSettings) -> float:
    """Mean Dice of `checks` episodes that training does not draw; the same ones at every call."""
    rng = np.random.default_rng([settings.seed, 1])
    was_training = encoder.training
    encoder.eval()
    stride = int(encoder.stride)  # type: ignore[arg-type]  # of the Encoder protocol
    scores = []
    with torch.inference_mode():
        for _ in range(settings.checks):
            episode = source.draw(rng).to(next(encoder.parameters()).device)
            support, query = batch_features(encoder, [episode])
            scores.append(episode_loss(support[0], query[0], episode, settings.episodes, stride=stride).dice)
    encoder.train(was_training)
    return float(np.mean(scores))


def _train_mode(encoder: nn.Module, *, freeze_norm: bool) -> None:
    encoder.train()
    for module in encoder.modules():
        if freeze_norm and isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


def _require_trainable(encoder: nn.Module, name: str) -> None:
    if next(iter(encoder.parameters()), None) is None:
        raise SettingsError(f"the encoder {name!r} has nothing to train; choose resnet18-s8 or slice-resnet")


def _starting_encoder(settings: CowproTrainSettings) -> tuple[Any, str]:
    """The encoder to train and a sentence on where its weights come from."""
    options = _options(settings)
    start = Path(settings.start_from).expanduser() if settings.start_from else None
    bundle = load_bundle(start) if start is not None and _is_bundle(start) else None
    if bundle is not None:
        options = {**_config_in(bundle, settings.encoder, settings.start_from), **options}
    try:
        with torch.random.fork_rng(devices=[]):  # the seed decides the first weights, not what ran before
            torch.manual_seed(settings.seed)
            encoder = build_encoder(settings.encoder, **options)
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"encoder_options {settings.encoder_options!r} do not fit {settings.encoder}: {error}"
        ) from error
    _require_trainable(encoder, settings.encoder)
    if bundle is not None:
        return load_module(encoder, bundle.state("encoder"), "encoder"), f"{settings.start_from} ({bundle.sha256[:12]})"
    if start is not None:
        return encoder, f"{settings.start_from}: {load_published(encoder, start).sentence()}"
    return encoder, "random"


def _options(settings: CowproTrainSettings) -> dict[str, Any]:
    try:
        options = json.loads(settings.encoder_options or "{}")
    except json.JSONDecodeError as error:
        raise SettingsError(f'encoder_options is no JSON ({error}); write for example {{"in_slices": 3}}') from error
    if not isinstance(options, dict):
        raise SettingsError('encoder_options must be a JSON object, such as {"in_slices": 3}')
    return {**options, "input_size": settings.size}


def _is_bundle(path: Path) -> bool:
    try:
        with safe_open(str(path), framework="pt") as f:
            return "modules" in (f.metadata() or {})
    except (SafetensorError, OSError):
        return False


def _config_in(bundle: Bundle, name: str, path: str) -> dict[str, Any]:
    stored = bundle.modules.get("encoder", {})
    if stored.get("name") != name:
        raise WeightsError(f"{path} holds the encoder {stored.get('name')!r}, not {name!r}; set encoder to that name")
    config: dict[str, Any] = stored["config"]
    return config


def _save_weights(
    path: Path, encoder: nn.Module, settings: CowproTrainSettings, facts: dict[str, Any], cases: Sequence[Case]
) -> Path:
    tensors = {f"encoder.{k}": v for k, v in encoder.state_dict().items()}
    modules = {"encoder": {"name": settings.encoder, "config": encoder.config}}
    card = {
        "recipe": "CoWPro superpixel episodes",
        "settings": to_dict(settings),
        "run": facts,
        "data": data_facts(cases),
    }
    save_bundle(path, Bundle(modules, tensors, card))
    return path
