"""Features of the slices of a volume, batch by batch."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from napari_medssl.engine.batches import Batches, run_batches
from napari_medssl.engine.cache import FeatureKey
from napari_medssl.engine.device import DevicePolicy
from napari_medssl.engine.memory import batch_that_fits, workspace_bytes
from napari_medssl.errors import WeightsError
from napari_medssl.intensity import IntensitySettings, window_limits
from napari_medssl.models.features import FeatureStack, SliceFrame
from napari_medssl.models.slices import make_frame, slice_batch
from napari_medssl.progress import Steps
from napari_medssl.settings import setting
from napari_medssl.volume import Volume

PREPROCESSING = 1  # raise it when slices reach the encoder in another way, so that stored features are not reused
STORAGE = "float16"
_DEFAULT_SIZE = 256  # side of the input square of an encoder that names none: the published slice size


@dataclass(frozen=True)
class EncodeSettings:
    """How slices reach the encoder.

    intensity: the window; encoders are trained on the default one.
    batch_size: slices per batch to begin with; 0: what suits the device.
    """

    intensity: IntensitySettings = dataclasses.field(default_factory=IntensitySettings)
    batch_size: int = setting(0, "slices per batch; 0: what suits the device", ge=0, le=1024, advanced=True)


@dataclass(frozen=True)
class Plan:
    """What will be encoded: which slices of a volume, framed and windowed how, and the key of the result."""

    volume: Volume
    slices: tuple[int, ...]
    frame: SliceFrame
    limits: tuple[float, float]
    context: int
    key: FeatureKey


@dataclass(frozen=True)
class Encoded:
    """Features and what had to change on the way to them, as sentences."""

    stack: FeatureStack
    notes: tuple[str, ...]


def plan_encoding(
    volume: Volume,
    encoder: Any,
    *,
    weights_hash: str,
    policy: DevicePolicy,
    settings: EncodeSettings,
    slices: Sequence[int] | None = None,
) -> Plan:
    """The plan for `slices` of `volume` (all of them when None), in the order given.

    Raises IndexError for a slice the volume does not have.
    """
    depth = volume.shape[0]
    chosen = tuple(range(depth)) if slices is None else tuple(int(z) for z in slices)
    outside = [z for z in chosen if not 0 <= z < depth]
    if outside or not chosen:
        raise IndexError(f"slices {outside or 'none'} asked for; the volume has slices 0 to {depth - 1}")
    frame = make_frame(volume.shape[1:], volume.spacing_mm[1:], input_size(encoder))
    limits = window_limits(volume, settings.intensity)
    facts = [PREPROCESSING, dataclasses.astuple(frame), limits, encoder.in_slices]
    facts.append("all" if chosen == tuple(range(depth)) else chosen)
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
    key = FeatureKey(
        volume.content_hash, weights_hash, digest, f"{encoding_policy(encoder, policy).precision}-{STORAGE}"
    )
    return Plan(volume, chosen, frame, limits, encoder.in_slices, key)


def encode_steps(
    plan: Plan,
    encoder_on: Callable[[DevicePolicy], nn.Module],
    *,
    policy: DevicePolicy,
    stride: int,
    batch_size: int = 0,
) -> Steps[Encoded]:
    """Encode the slices of `plan`.

    encoder_on: gives the encoder placed for a policy; asked again when the work moves to the CPU.
    batch_size: slices per batch; 0: the policy's own, less when memory is short.

    Returns (len(plan.slices), D, h, w) features on the CPU: float16, whose rounding moves the cosine between two
    feature vectors by less than 1e-3, or float32 for an encoder whose values exceed the range of float16. Nothing is
    kept when the caller stops asking. Raises WeightsError when the encoder gives values that are not numbers.
    """
    size = batch_size or policy.batch_size
    if policy.device.type == "cpu":
        size = batch_that_fits(workspace_bytes(plan.frame.size), size)
    store = _Store(len(plan.slices))
    inputs = _Inputs(plan, ahead=policy.device.type != "cpu")

    def encode(items: range, on: DevicePolicy) -> None:
        store.write(items, _features(encoder_on(on), inputs.take(items, on), on))

    policy = encoding_policy(encoder_on(policy), policy)
    try:
        done: Batches[None] = yield from run_batches(
            encode, len(plan.slices), policy=policy, label="encoding", batch_size=size
        )
    finally:
        inputs.close()
    return Encoded(FeatureStack(store.result, plan.frame, stride), done.notes)


def encoding_policy(encoder: nn.Module, policy: DevicePolicy) -> DevicePolicy:
    """`policy` without half precision for an encoder of fixed filters.

    Trained networks are made to bear rounding; variances computed as differences of squares, as fixed filters do, are
    not, and there is little arithmetic to save.
    """
    return policy if next(encoder.parameters(), None) is not None else dataclasses.replace(policy, autocast=None)


def input_size(encoder: Any) -> int:
    """Side of the square an encoder wants its slices laid into, in pixels."""
    return int(getattr(encoder, "input_size", _DEFAULT_SIZE))


def feature_bytes(encoder: Any, depth: int) -> int:
    """Bytes of the stored features of `depth` slices."""
    side = input_size(encoder) // int(encoder.stride)
    return depth * int(encoder.channels) * side * side * torch.finfo(torch.float16).bits // 8


def _features(encoder: nn.Module, slices: Tensor, policy: DevicePolicy) -> Tensor:
    """(B, D, h, w) float32 on the device; a batch that overflows half precision is computed again in float32."""
    features = _run(encoder, slices, policy)
    if policy.autocast is not None and not _finite(features):
        features = _run(encoder, slices, dataclasses.replace(policy, autocast=None))
    if not _finite(features):
        raise WeightsError("the encoder gives values that are not numbers; its weights are damaged, choose others")
    return features


def _finite(values: Tensor) -> bool:
    # A sum of 300,000 values costs a fortieth of looking at each, and cannot be finite when one of them is not.
    return bool(torch.isfinite(values.sum(dtype=torch.float32))) or bool(torch.isfinite(values).all())


def _run(encoder: nn.Module, slices: Tensor, policy: DevicePolicy) -> Tensor:
    with policy.running():
        features: Tensor = encoder(policy.send(slices)).float()
    return features


class _Store:
    """The growing result; float16 until a batch does not fit its range."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._data: Tensor | None = None

    def write(self, items: range, features: Tensor) -> None:
        if self._data is None:
            # An ordinary tensor, not an inference tensor: the features may serve as input of a training step.
            self._data = torch.empty((self._n, *features.shape[1:]), dtype=torch.float16)
        if self._data.dtype == torch.float16:
            half = features.half()  # on the device still: half as much to transfer
            if _finite(half):
                self._data[items.start : items.stop] = half
                return
            self._data = self._data.float()
        self._data[items.start : items.stop] = features

    @property
    def result(self) -> Tensor:
        if self._data is None:
            raise ValueError("nothing was encoded")
        return self._data


class _Inputs:
    """Encoder input by batch; with `ahead`, the next batch is prepared in a thread while a GPU computes this one.

    On the CPU both would compete for the same cores, so batches are prepared when they are asked for.
    """

    def __init__(self, plan: Plan, *, ahead: bool) -> None:
        self._plan = plan
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="slices") if ahead else None
        self._next: tuple[range, torch.device, Future[Tensor]] | None = None

    def take(self, items: range, policy: DevicePolicy) -> Tensor:
        """(B, C, S, S) float32 in [0, 1] for these items of the plan."""
        device = _resize_device(policy.device)
        expected, self._next = self._next, None
        if expected is not None and expected[:2] == (items, device):
            batch = expected[2].result()
        else:  # the first batch, or the batch size has just changed
            batch = self._prepare(items, device)
        following = range(items.stop, min(items.stop + len(items), len(self._plan.slices)))
        if self._pool is not None and following and policy.device.type != "cpu":
            self._next = (following, device, self._pool.submit(self._prepare, following, device))
        return batch

    def close(self) -> None:
        """Stop preparing; waits at most for the batch being prepared."""
        self._next = None
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _prepare(self, items: range, device: torch.device) -> Tensor:
        plan = self._plan
        indices = [plan.slices[i] for i in items]
        return slice_batch(plan.volume, indices, plan.frame, plan.context, limits=plan.limits, device=device)


def _resize_device(device: torch.device) -> torch.device:
    # CUDA resizes faster than the CPU; MPS lacks the anti-aliased resize in the oldest PyTorch this package allows.
    return device if device.type == "cuda" else torch.device("cpu")
