"""Where a slice head finds its evidence: encoder, pooling and head as one network that can be asked."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from typing import Any, Protocol, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_medssl.classify.explain.explain import Explanation, explain_steps
from napari_medssl.classify.explain.faithfulness import Faithfulness, faithfulness_steps
from napari_medssl.classify.explain.sanity import Sanity, explain_sanity_steps
from napari_medssl.classify.explain.settings import ExplainSettings
from napari_medssl.classify.explain.shown import Shown, framed_slices
from napari_medssl.classify.slices.bags import LARGER, BagScorer
from napari_medssl.classify.slices.head import SliceHead
from napari_medssl.classify.slices.linear import LinearScorer
from napari_medssl.classify.slices.neighbours import TEMPERATURE, NeighbourScorer
from napari_medssl.classify.slices.vectors import (
    FeatureEngine,
    SliceVectors,
    inner_cells,
    pooled_cells,
    slice_vectors_steps,
)
from napari_medssl.engine.encode import EncodeSettings, input_size
from napari_medssl.errors import SettingsError
from napari_medssl.models.features import FeatureStack, SliceFrame
from napari_medssl.models.slices import make_frame
from napari_medssl.progress import Steps
from napari_medssl.volume import Volume


class LendingEngine(FeatureEngine, Protocol):
    """The part of `napari_medssl.Engine` that explanations of slice heads need."""

    @property
    def encoding(self) -> EncodeSettings:
        """How slices reach the encoder."""

    def lend_encoder(self, work: Any) -> Steps[Any]:
        """Work with the encoder, in turn."""


def explain_head_steps(
    engine: LendingEngine, head: SliceHead, volume: Volume, name: str, *,
    settings: ExplainSettings | None = None, slices: Sequence[int] | None = None,
) -> Steps[Explanation]:  # fmt: skip
    """Evidence for the class `name` in the slices of a scan, as a head scores them.

    slices: which; all when None. A slice is dimmed by its probability unless `settings.weigh` is off.

    Raises SettingsError for a class the head does not know, WeightsError when the head was learned on another encoder,
    IndexError for a slice the scan does not have, and as `explain_steps`.
    """
    target = class_number(head, name)
    vectors = yield from slice_vectors_steps(engine, volume)
    scores = head.scores(vectors)

    def work(encoder: Any) -> Steps[Explanation]:
        model, shown = head_network(encoder, head, volume, vectors, encoding=engine.encoding, slices=slices)
        weights = scores.probability[list(shown.slices), target]
        return explain_steps(model, shown, target=target, settings=settings, weights=weights, name=name)

    found: Explanation = yield from engine.lend_encoder(work)
    found.report["head"] = {"kind": head.name, "encoder": str(head.encoder)}
    if head.space.height is not None:
        found.report["notes"].append("the head also counts how high in the body a slice lies, which no map can show")
    return found


def check_head_steps(
    engine: LendingEngine, head: SliceHead, volume: Volume, name: str, slices: Sequence[int], *,
    settings: ExplainSettings | None = None,
) -> Steps[tuple[Sanity, Faithfulness]]:  # fmt: skip
    """How far the evidence for a class in some slices, which should show it, can be believed.

    Some hundred passes per slice. Raises as `explain_head_steps`.
    """
    target = class_number(head, name)
    vectors = yield from slice_vectors_steps(engine, volume)

    def work(encoder: Any) -> Steps[tuple[Sanity, Faithfulness]]:
        model, shown = head_network(encoder, head, volume, vectors, encoding=engine.encoding, slices=slices)
        sanity = yield from explain_sanity_steps(model, shown, target=target, settings=settings)
        one_of = head.kind == "one"
        curves = yield from faithfulness_steps(model, shown, target=target, settings=settings, one_of=one_of)
        return sanity, curves

    found: tuple[Sanity, Faithfulness] = yield from engine.lend_encoder(work)
    return found


def class_number(head: SliceHead, name: str) -> int:
    """The column of a class. Raises SettingsError, which lists the classes, when there is none of that name."""
    if name not in head.classes:
        raise SettingsError(f"the head knows no class {name!r}; choose one of: {', '.join(head.classes)}")
    return head.classes.index(name)


def head_network(
    encoder: Any, head: SliceHead, volume: Volume, vectors: SliceVectors, *,
    encoding: EncodeSettings | None = None, slices: Sequence[int] | None = None,
) -> tuple[nn.Module, Shown]:  # fmt: skip
    """A head on its encoder as a network of slices, and what it is shown of a scan.

    vectors: of the same scan; their mean and heights, by which a head makes scans comparable, are held fixed while
    single slices are changed. The network gives calibrated scores (B, C).

    Raises WeightsError when the vectors come from another encoder.
    """
    encoding = encoding or EncodeSettings()
    shown = framed_slices(volume, encoder, slices=slices, intensity=encoding.intensity)
    y_mm, x_mm = volume.spacing_mm[1:]
    frame = make_frame(volume.shape[1:], (y_mm, x_mm), input_size(encoder))
    model = HeadOnEncoder(own_copy(encoder), head, vectors, frame)

    def before(items: range) -> None:
        model.now.slices = [shown.slices[i] for i in items]

    return model, Shown(
        volume, shown.count, shown.inputs, shown.onto_grid, shown.slices, before=before, notes=shown.notes
    )


class _Now:
    """Which slices are shown, to a network and to all its copies."""

    def __init__(self) -> None:
        self.slices: list[int] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> _Now:
        return self


class HeadOnEncoder(nn.Module):
    """(B, in_slices, side, side) slices to (B, C) calibrated scores, differentiable.

    now.slices: the number in the scan of each slice of the next batch (or of all of them, when it is one); it says how
    high in the body they lie.

    The nearest neighbours' vote is flat where all of them agree, so a map of it would be empty there. Their score here
    is the difference of the log-sums of exp(cosine / temperature) over the k nearest marked slices that show the class
    and the k nearest that do not (ours); it grows where the vote does.
    """

    def __init__(self, encoder: Any, head: SliceHead, vectors: SliceVectors, frame: SliceFrame) -> None:
        super().__init__()
        self.encoder, self.frame = encoder, frame
        self.in_slices, self.stride = int(encoder.in_slices), int(encoder.stride)
        self.now = _Now()
        points, length = head.space.points(vectors), vectors.data.shape[1]
        divisor = head.space.deviation * np.sqrt(length)
        mean = (vectors.data - points[:, :length] * divisor).mean(0)  # of this scan; the same in every row
        for name, value in {
            "mean": mean, "divisor": divisor, "rest": points[:, length:], "by_height": head.by_height(vectors)[0],
            "scale": head.calibration.scale, "shift": head.calibration.shift,
        }.items():  # fmt: skip
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32)))
        self.head = _torch_scorer(head)
        self.to(next((t.device for t in itertools.chain(encoder.parameters(), encoder.buffers())), torch.device("cpu")))

    def forward(self, slices: Tensor) -> Tensor:
        stack = FeatureStack(self.encoder(slices).float(), self.frame, self.stride)
        rows, columns = inner_cells(stack)
        own = (pooled_cells(stack.data[:, :, rows, columns]) - cast(Tensor, self.mean)) / cast(Tensor, self.divisor)
        rest = cast(Tensor, self.rest)[self.now.slices].expand(len(own), -1)
        by_height = cast(Tensor, self.by_height)[self.now.slices].expand(len(own), -1)
        scores: Tensor = (self.head(torch.cat([own, rest], 1)) + by_height) * self.scale + self.shift
        return scores


class _Line(nn.Module):
    def __init__(self, weight: np.ndarray, bias: np.ndarray) -> None:
        super().__init__()
        self.line = nn.Linear(weight.shape[1], weight.shape[0])
        self.line.weight.data, self.line.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)

    def forward(self, points: Tensor) -> Tensor:
        return cast(Tensor, self.line(points))


class _Neighbours(nn.Module):
    def __init__(self, scorer: NeighbourScorer) -> None:
        super().__init__()
        self.k = int(scorer.k[0])
        self.register_buffer("bank", F.normalize(torch.from_numpy(scorer.bank), dim=1))
        self.register_buffer("targets", torch.from_numpy(scorer.targets))

    def forward(self, points: Tensor) -> Tensor:
        near = F.normalize(points, dim=1) @ cast(Tensor, self.bank).T / TEMPERATURE  # (B, N)
        sides = [self._side(near, target) for target in cast(Tensor, self.targets).T]
        return torch.stack(sides, 1)

    def _side(self, near: Tensor, target: Tensor) -> Tensor:
        sums = [near[:, target == value] for value in (1, 0)]
        shown, other = (s.topk(min(self.k, s.shape[1]), dim=1).values.logsumexp(1) for s in sums)
        return shown - other


def _torch_scorer(head: SliceHead) -> nn.Module:
    scorer = head.scorer
    if isinstance(scorer, NeighbourScorer):
        return _Neighbours(scorer)
    if isinstance(scorer, BagScorer):  # no member is the head itself; their mean is
        return _Line(LARGER * scorer.weight.mean(0), scorer.bias.mean(0))
    assert isinstance(scorer, LinearScorer)
    return _Line(scorer.weight[0].copy(), scorer.bias[0].copy())


def own_copy(module: Any) -> Any:
    """The module with hooks and modes of its own and the same weights, so that others may use it at the same time."""
    shared = {id(t): t for t in itertools.chain(module.parameters(), module.buffers())}
    return copy.deepcopy(module, shared)
