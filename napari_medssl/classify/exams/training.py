"""Training the network of one plane on labelled exams; interrupted runs go on where they stopped."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from napari_medssl.classify.exams.augment import apply_change, draw_change
from napari_medssl.classify.exams.balance import criterion, epoch_length, epoch_order
from napari_medssl.classify.exams.features import FeatureStore, KeptFeatures, encode, slices_of
from napari_medssl.classify.exams.sampling import draw_slices
from napari_medssl.classify.exams.settings import ExamSettings
from napari_medssl.classify.table import LabelKind
from napari_medssl.evaluate.fit import apply_phase
from napari_medssl.evaluate.phases import encoder_stages, phase_at
from napari_medssl.models.exam_heads import ChannelScale
from napari_medssl.models.exam_network import ExamNetwork
from napari_medssl.pretext.scan import Scan, to_float
from napari_medssl.progress import Progress, Steps
from napari_medssl.settings import to_dict
from napari_medssl.train.checkpoint import RunState, resume_run, save_run
from napari_medssl.train.divergence import DivergedError
from napari_medssl.train.store import scans_digest

IntArray = npt.NDArray[np.intp]
FloatArray = npt.NDArray[np.float32]

_OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
    "rmsprop": lambda groups, weight_decay: torch.optim.RMSprop(groups, alpha=0.9, weight_decay=weight_decay),
}


@dataclass(frozen=True)
class Training:
    """What is learned from. scans: of one plane, one for each exam. targets: (N, L). kind: of the targets.

    channels: neighbouring slices the encoder takes. name: of the plane, for progress. store: of features that other
    networks with the same frozen encoder share.
    """

    scans: list[Scan]
    targets: FloatArray
    kind: LabelKind
    channels: int
    name: str = ""
    store: FeatureStore | None = None


def train_steps(
    network: ExamNetwork, training: Training, settings: ExamSettings, *, device: torch.device, state: Path | None = None
) -> Steps[list[float]]:
    """Train `network` in place on `device`; returns the mean loss of each epoch, of those done in this call.

    state: file with the whole state of the run; one that is there is gone on with, and it is written every
    `settings.save_every` steps, when the generator is closed, and at the end. On the CPU an interrupted run gives the
    same weights as an uninterrupted one: order, slices and changes follow from the seed, the step and the exam.

    Exams of a batch with the same number of slices go through the network together, others one after the other.
    Raises SettingsError when `state` is of other settings or exams, DivergedError when the loss is not finite.
    """
    run = _Run(network.to(device), training, settings, device)
    done = run.resume(state)
    if not done:
        yield from run.fit_scale()
    losses: list[float] = []
    try:
        for step in range(done, run.steps):
            value = yield from run.step(step)
            losses.append(value)
            done = step + 1
            if state is not None and done % settings.save_every == 0:
                run.save(state, done)
            yield Progress(done, run.steps, f"training {training.name}".rstrip(), f"loss {value:.3f}")
    finally:
        # Also when the caller stops asking; a step that failed is not kept.
        if state is not None and done:
            run.save(state, done)
        network.eval()
    per = run.per_epoch
    return [float(np.mean(losses[i : i + per])) for i in range(0, len(losses), per)]


class _Run:
    def __init__(self, network: ExamNetwork, training: Training, settings: ExamSettings, device: torch.device) -> None:
        self.network, self.training, self.settings, self.device = network, training, settings, device
        self.per_epoch = math.ceil(epoch_length(training.targets, settings.balance) / settings.batch)
        self.steps = settings.epochs * self.per_epoch
        self.stages = encoder_stages(network.encoder)
        groups = [{"params": list(part.parameters()), "lr": 0.0} for part in (network.head, *self.stages)]
        self.optimiser = _OPTIMISERS[settings.optimiser](groups, weight_decay=settings.weight_decay)
        self.loss = criterion(training.kind, training.targets, settings.balance, device)
        fixed = settings.mode == "frozen" and settings.augment == "none" and network.per_slice
        self.kept = KeptFeatures(network, training.scans, training.channels, device, training.store) if fixed else None
        self._order: tuple[int, IntArray] | None = None

    def resume(self, state: Path | None) -> int:
        """Steps done already."""
        if state is None:
            return 0
        found = resume_run(state, self._facts(), model=self.network, optimiser=self.optimiser)
        return 0 if found is None else found.step

    def fit_scale(self) -> Steps[None]:
        """Bring a frozen encoder's channels to one size, where the head asks for it."""
        scale = getattr(self.network.head, "scale", None)
        if self.kept is None or not isinstance(scale, ChannelScale):
            return
        found = []
        for n, scan in enumerate(self.training.scans):
            features = yield from self.kept.of(n, np.arange(len(scan.image)))
            found.append(features.mean((2, 3)))
        scale.fit(torch.cat(found))

    def save(self, state: Path, done: int) -> None:
        save_run(state, RunState(done, 0.0, self._facts(), {}), model=self.network, optimiser=self.optimiser)

    def _facts(self) -> dict[str, Any]:
        learned = self.training.targets.astype(int).tolist()
        return to_dict(self.settings) | {"data": [scans_digest(self.training.scans), learned]}

    def _numbers(self, step: int) -> IntArray:
        """The exams of a step."""
        epoch, place = divmod(step, self.per_epoch)
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng([self.settings.seed, 21, epoch])
            self._order = (epoch, epoch_order(self.training.targets, self.settings.balance, rng))
        batch = self.settings.batch
        return self._order[1][place * batch : (place + 1) * batch]

    def step(self, step: int) -> Steps[float]:
        """One step of the optimiser; its loss."""
        settings, numbers = self.settings, self._numbers(step)
        epoch = step // self.per_epoch
        fall = settings.decay**epoch if settings.schedule == "exponential" else None
        now = phase_at(
            settings.mode, step, steps=self.steps, per_epoch=self.per_epoch, stages=len(self.stages),
            head_rate=settings.head_rate, encoder_rate=settings.encoder_rate, fall=fall,
        )  # fmt: skip
        apply_phase(now, self.network.encoder, self.network.head, self.stages, self.optimiser)
        self.optimiser.zero_grad(set_to_none=True)
        total = 0.0
        for together in self._alike(numbers, step):
            logits = yield from self._logits(together)
            truth = torch.from_numpy(self.training.targets[[n for n, _, _ in together]]).to(self.device)
            value = self.loss(logits, truth) * (len(together) / len(numbers))
            value.backward()  # type: ignore[no-untyped-call]
            total += float(value.detach())
        if not math.isfinite(total):
            raise DivergedError(f"the loss became {total} at step {step}; lower head_rate and encoder_rate")
        self.optimiser.step()
        return total

    def _alike(self, numbers: IntArray, step: int) -> list[list[tuple[int, IntArray, np.random.Generator]]]:
        """Exams of a batch in groups of as many slices, with the slices and what else is drawn at random."""
        groups: dict[int, list[tuple[int, IntArray, np.random.Generator]]] = {}
        for place, n in enumerate(numbers):
            rng = np.random.default_rng([self.settings.seed, 22, step, place])
            depth = len(self.training.scans[n].image)
            drawn = draw_slices(depth, self.settings.slices, self.settings.sampling, rng)
            groups.setdefault(len(drawn), []).append((int(n), drawn, rng))
        return list(groups.values())

    def _logits(self, together: list[tuple[int, IntArray, np.random.Generator]]) -> Steps[Tensor]:
        if self.kept is not None:
            features = []
            for n, drawn, _ in together:
                features.append((yield from self.kept.of(n, drawn)))
            return self.network.decide(torch.stack(features).to(self.device))
        exams = torch.stack([self._changed(n, drawn, rng) for n, drawn, rng in together])
        if self.settings.mode == "frozen" and self.network.per_slice:
            # A few slices at a time and kept for no backward pass: most of the memory of a large trunk.
            found = yield from encode(self.network, exams.flatten(0, 1), self.device)
            return self.network.decide(found.view(*exams.shape[:2], *found.shape[1:]).to(self.device))
        return self.network(exams)  # type: ignore[no-any-return]  # a tensor

    def _changed(self, n: int, drawn: IntArray, rng: np.random.Generator) -> Tensor:
        slices = to_float(slices_of(self.training.scans[n], drawn, self.training.channels).to(self.device))
        change = draw_change(rng, self.settings.augment, side=slices.shape[-1], slices=len(slices))
        return apply_change(slices, change)
