"""The engine: one owner of device, models and features, shared by everything that works on the same scans."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import nn

from napari_medssl.bounded_cache import BoundedCache
from napari_medssl.dense.files import load_grid, save_grid
from napari_medssl.dense.grid import FeatureGrid, grid_source
from napari_medssl.dense.settings import ExtractSettings
from napari_medssl.dense.slices import stack_grid_steps
from napari_medssl.engine.batches import device_lost, is_device_lost, is_out_of_memory
from napari_medssl.engine.cache import FeatureCache
from napari_medssl.engine.checks import Request, check_request, check_volume
from napari_medssl.engine.device import DevicePolicy, choose_device, describe_device, policy_for
from napari_medssl.engine.disk_store import DiskStore
from napari_medssl.engine.encode import EncodeSettings, encode_steps, feature_bytes, input_size, plan_encoding
from napari_medssl.engine.grid_key import grid_key
from napari_medssl.engine.grids import grid_steps
from napari_medssl.engine.memory import MIB, Estimate, estimate, require
from napari_medssl.engine.report import complete_report, weights_facts
from napari_medssl.engine.turn import Turn
from napari_medssl.engine.volume_weights import DEFAULT3D, LoadedEncoder, load_encoder
from napari_medssl.engine.weights import LoadedModels, load_models, models_on, resolve_weights
from napari_medssl.errors import OutOfMemoryError
from napari_medssl.models.features import FeatureStack
from napari_medssl.oneshot.provider import STRUCTURES_BYTES, Structures
from napari_medssl.oneshot.result import Segmentation
from napari_medssl.oneshot.segmenter import segment_volume
from napari_medssl.oneshot.settings import SegmentSettings
from napari_medssl.oneshot.support import Support
from napari_medssl.oneshot.tracks import TrackStore
from napari_medssl.progress import Steps, T, finish
from napari_medssl.volume import Volume

FEATURE_BUDGET_MB = 1024  # two 512 x 512 x 400 scans with the default encoder, an eighth of a small laptop's memory
DISK_BUDGET_MB = 8192
GRID_BUDGET_MB = 1024
SLICES = "slices"  # in place of weights: the engine's own slice encoder


class Engine:
    """Features and segmentations of scans, on one device with one set of weights.

    device: "auto", "cpu", "cuda", "cuda:N" or "mps".
    weights: "default", "none" (a training-free encoder), another shipped set, or the path of a bundle file.
    feature_budget_mb: MiB of features kept in memory, least recently used out first. grid_budget_mb: likewise of grids.
    disk_cache: folder in which features are also kept between sessions (at most `disk_budget_mb` MiB), or None.
    encoding: how slices reach the encoder.

    Encode once, prompt often: the features of a scan depend on its content, the weights and `encoding` alone, so
    another mask, threshold or refinement never encodes again. Engines with the same weights and device share the
    models in memory.

    Every long operation exists twice: `NAME_steps` is a generator that yields Progress after every batch and returns
    the result; `NAME` runs it to the end. Stop asking and `close()` the generator to cancel; its memory is free then
    and the engine goes on with the next job. One job runs at a time; a job of another thread waits, yielding
    Progress of unknown total.

    Raises DeviceError and WeightsError as `choose_device` and `resolve_weights` do.
    """

    def __init__(
        self,
        device: str = "auto",
        weights: str | Path = "default",
        *,
        feature_budget_mb: int = FEATURE_BUDGET_MB,
        grid_budget_mb: int = GRID_BUDGET_MB,
        disk_cache: str | Path | None = None,
        disk_budget_mb: int = DISK_BUDGET_MB,
        encoding: EncodeSettings | None = None,
    ) -> None:
        self.policy = policy_for(choose_device(device))
        self._source = resolve_weights(weights)
        self._models: LoadedModels | None = load_models(self._source, self.policy)
        self._encoding = encoding or EncodeSettings()
        disk = None
        if disk_cache is not None:
            disk = DiskStore(Path(disk_cache).expanduser(), max_bytes=disk_budget_mb * MIB)
        self.cache = FeatureCache(feature_budget_mb * MIB, disk=disk)
        self.grids: BoundedCache[FeatureGrid] = BoundedCache(grid_budget_mb * MIB)
        self._volume_encoder: LoadedEncoder | None = None  # the last one used: held, so that it is not loaded again
        self.tracks = TrackStore()
        self.structures: Structures = BoundedCache(STRUCTURES_BYTES)
        self._turn = Turn()

    def features(self, volume: Volume, *, slices: Sequence[int] | None = None) -> FeatureStack:
        """`features_steps` run to the end."""
        return finish(self.features_steps(volume, slices=slices))

    def features_steps(self, volume: Volume, *, slices: Sequence[int] | None = None) -> Steps[FeatureStack]:
        """Dense features of `slices` (all when None) of a scan, from the cache where it has them.

        Returns (Z, D, h, w) on the CPU, in the order of `slices`. Raises VolumeError for a scan that cannot be
        encoded, OutOfMemoryError when it does not fit, IndexError for a slice it does not have.
        """

        def job() -> Steps[FeatureStack]:
            usable, _ = check_volume(volume)
            return (yield from _Job(self, self.policy).features_steps(usable, slices))

        return self._turn.steps(job)

    def grid(
        self,
        volume: Volume,
        *,
        weights: str | Path = DEFAULT3D,
        settings: ExtractSettings | None = None,
        out: str | Path | None = None,
    ) -> FeatureGrid:
        """`grid_steps` run to the end."""
        return finish(self.grid_steps(volume, weights=weights, settings=settings, out=out))

    def grid_steps(
        self,
        volume: Volume,
        *,
        weights: str | Path = DEFAULT3D,
        settings: ExtractSettings | None = None,
        out: str | Path | None = None,
    ) -> Steps[FeatureGrid]:
        """Dense features of a scan in its own space, from memory when they were made before.

        weights: "default3d", "slices" for the engine's own slice encoder, the path of a weights file with an encoder
        of volumes or slices, or what else `load_encoder` takes. out: a `.zarr` or `.npz` the grid is kept in; a Zarr is
        written while the work goes on and its vectors stay on the disk.

        The grid's `encoder["notes"]` say what was changed on the way. Raises VolumeError for a scan that cannot be
        encoded, WeightsError, SettingsError, FormatError and OutOfMemoryError as `dense.extract_steps` does.
        """
        chosen = settings or ExtractSettings()
        return self._turn.steps(lambda: self._grid(volume, weights, chosen, out))

    def segment(
        self,
        query: Volume,
        supports: Sequence[Support],
        *,
        slice_range: tuple[int, int] | None = None,
        settings: SegmentSettings | None = None,
    ) -> Segmentation:
        """`segment_steps` run to the end."""
        return finish(self.segment_steps(query, supports, slice_range=slice_range, settings=settings))

    def segment_steps(
        self,
        query: Volume,
        supports: Sequence[Support],
        *,
        slice_range: tuple[int, int] | None = None,
        settings: SegmentSettings | None = None,
    ) -> Steps[Segmentation]:
        """Every organ of `supports` in `query`.

        query: the scan. supports: labelled slices of it, of other scans, or both. slice_range: half-open range of
        slices to segment, on which organs of other scans begin and end; the report then says "oracle", because
        published tables take it from the labels. A `SoftRange` only says where no organ is: what is found is cut off
        outside it, and the report says "soft".

        Returns a Segmentation on the query's grid with a report that plain JSON can hold. Raises SupportError,
        VolumeError and SettingsError for input that cannot be used, OutOfMemoryError when the run cannot fit,
        DeviceError when the GPU stops answering.
        """
        return self._turn.steps(lambda: self._segment(query, supports, slice_range, settings))

    def lend_encoder(self, work: Callable[[nn.Module], Steps[T]]) -> Steps[T]:
        """Other work with the encoder, such as asking its layers, stepped while no job of the engine runs.

        work: given the encoder, on the device; it must leave it as it was.
        """
        return self._turn.steps(lambda: work(self.encoder))

    @property
    def encoding(self) -> EncodeSettings:
        """How slices reach the encoder."""
        return self._encoding

    @property
    def device(self) -> torch.device:
        """Where the models compute."""
        return self.policy.device

    @property
    def encoder(self) -> nn.Module:
        """The slice encoder, in eval mode on the device."""
        return self.models.encoder

    @property
    def propagator(self) -> nn.Module | None:
        """The network that carries masks from slice to slice, or None when the weights hold none."""
        return self.models.propagator

    @property
    def encoder_name(self) -> str:
        """Registry name of the encoder."""
        return self.models.encoder_name

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the weights file, or of the training-free encoder's construction."""
        return self.models.sha256

    @property
    def models(self) -> LoadedModels:
        """The loaded modules. Raises RuntimeError after `close`."""
        if self._models is None:
            raise RuntimeError("this engine is closed; make a new Engine")
        return self._models

    @property
    def notes(self) -> tuple[str, ...]:
        """What was chosen instead of what was asked for, as sentences."""
        return self._source.notes

    def describe(self) -> dict[str, Any]:
        """Device, precision, weights and cache at this moment, as plain JSON values."""
        parameters = sum(p.numel() for p in self.encoder.parameters())
        statistics = self.cache.statistics
        return {
            "device": describe_device(self.device),
            "precision": self.policy.precision,
            "weights": weights_facts(self.models, name=self._source.name),
            "encoder_parameters": parameters,
            "model_bytes": self.models.nbytes,
            "cache": {name: getattr(statistics, name) for name in statistics.__dataclass_fields__},
            "notes": list(self.notes),
        }

    def close(self) -> None:
        """Give up models and features; a job still running ends undisturbed, a new one is refused."""
        self._models = None
        self.cache.clear()
        self.grids.clear()
        self._volume_encoder = None
        self.tracks.clear()
        self.structures.clear()
        self.policy.release_memory()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _grid(
        self, volume: Volume, weights: str | Path, settings: ExtractSettings, out: str | Path | None
    ) -> Steps[FeatureGrid]:
        usable, warnings = check_volume(volume)
        facts = self._own_facts() if weights == SLICES else self._encoder3d(weights).facts()
        key = grid_key(volume.content_hash, facts, settings, self.policy.precision)
        found = self.grids.get(key)
        if found is not None:
            return found if out is None else load_grid(save_grid(out, found))
        if weights == SLICES:
            job = _Job(self, self.policy)
            stack = yield from job.features_steps(usable)
            facts["notes"] = [*facts["notes"], *warnings, *job.notes]
            grid = yield from stack_grid_steps(
                usable, stack, settings, facts=facts, source=grid_source(volume), out=out
            )
        else:
            loaded = self._encoder3d(weights)
            grid = yield from grid_steps(
                usable, loaded, settings, policy=self.policy, original=volume, notes=warnings, out=out
            )
        if out is None and self._models is not None:
            self.grids.put(key, grid)
        return grid

    def _own_facts(self) -> dict[str, Any]:
        models = self.models
        facts = {"name": models.encoder_name, "weights": self._source.name, "weights_sha256": models.sha256}
        return {**facts, "precision": self.policy.precision, "notes": list(self.notes)}

    def _encoder3d(self, weights: str | Path) -> LoadedEncoder:
        self._volume_encoder = load_encoder(weights, self.policy)
        return self._volume_encoder

    def _segment(
        self,
        query: Volume,
        supports: Sequence[Support],
        slice_range: tuple[int, int] | None,
        settings: SegmentSettings | None,
    ) -> Steps[Segmentation]:
        start = time.perf_counter()
        models = self.models
        request = check_request(query, supports, slice_range=slice_range, settings=settings)
        shape = " x ".join(map(str, query.shape))
        require(_segment_need(request, models), what=f"segmenting a scan of {shape} voxels")
        checked = time.perf_counter()
        job = _Job(self, self.policy)
        result = yield from _segment_somewhere(request, job)
        return complete_report(
            result,
            request=request,
            query=query,
            supports=supports,
            models=models,
            weights_name=self._source.name,
            policy=job.policy,
            seconds={"checks": checked - start, "encoding": job.seconds, "total": time.perf_counter() - start},
            warnings=[*self.notes, *request.warnings, *job.notes],
        )


class _Job:
    """What a running job sees of its engine: the models on the job's device, and features without waiting a turn.

    notes: what had to change on the way. seconds: spent on encoding.
    """

    def __init__(self, engine: Engine, policy: DevicePolicy) -> None:
        self._engine = engine
        self._loaded = {policy.device: engine.models}
        self.policy = policy
        self.notes: list[str] = []
        self.seconds = 0.0

    @property
    def device(self) -> torch.device:
        return self.policy.device

    @property
    def propagator(self) -> nn.Module | None:
        return self._on(self.policy).propagator

    @property
    def reviser(self) -> nn.Module | None:
        return self._on(self.policy).reviser

    @property
    def recogniser(self) -> nn.Module | None:
        return self._on(self.policy).recogniser

    @property
    def encoder_name(self) -> str:
        return self._on(self.policy).encoder_name

    @property
    def weights_hash(self) -> str:
        return self._on(self.policy).sha256

    @property
    def tracks(self) -> TrackStore:
        return self._engine.tracks

    @property
    def structures(self) -> Structures:
        return self._engine.structures

    def features_steps(self, volume: Volume, slices: Sequence[int] | None = None) -> Steps[FeatureStack]:
        """Features from the cache, or encoded and then cached; what was encoded before a cancel is not kept."""
        engine, models = self._engine, self._on(self.policy)
        plan = plan_encoding(
            volume,
            models.encoder,
            weights_hash=models.sha256,
            policy=self.policy,
            settings=engine._encoding,
            slices=slices,
        )
        found = engine.cache.get(plan.key)
        if found is not None:
            return found
        require(_encode_need(volume, models, len(plan.slices)), what=f"encoding {len(plan.slices)} slices")
        start = time.perf_counter()
        encoded = yield from encode_steps(
            plan,
            lambda policy: self._on(policy).encoder,
            policy=self.policy,
            stride=int(getattr(models.encoder, "stride")),  # noqa: B009 (nn.Module types its attributes as tensors)
            batch_size=engine._encoding.batch_size,
        )
        self.seconds += time.perf_counter() - start
        self.notes.extend(encoded.notes)
        if engine._models is not None:  # closed meanwhile
            engine.cache.put(plan.key, encoded.stack)
        return encoded.stack

    def grid_steps(self, volume: Volume, weights: str, *, spacing_mm: float) -> Steps[FeatureGrid]:
        """Dense features of a 3D encoder, from the engine's memory where it has them; what it changed is noted."""
        start = time.perf_counter()
        grid = yield from self._engine._grid(volume, weights, ExtractSettings(spacing_mm=spacing_mm), None)
        self.seconds += time.perf_counter() - start
        self.notes.extend(n for n in grid.encoder.get("notes", ()) if n not in self.notes)
        return grid

    def move_to_cpu(self, note: str) -> None:
        """Go on without the accelerator."""
        self.policy.release_memory()
        self.policy = self.policy.on_cpu()
        self.notes.append(note)

    def _on(self, policy: DevicePolicy) -> LoadedModels:
        if policy.device not in self._loaded:
            self._loaded[policy.device] = models_on(self._loaded[self._engine.device], policy)
        return self._loaded[policy.device]


def _segment_somewhere(request: Request, job: _Job) -> Steps[Segmentation]:
    """Segment on the job's device, or all over again on the CPU when that device has no memory left."""
    while True:
        try:
            return (
                yield from segment_volume(
                    request.query,
                    request.supports,
                    models=job,
                    slice_range=request.slice_range,
                    settings=request.settings,
                )
            )
        except (RuntimeError, MemoryError) as error:
            if job.device.type != "cpu" and is_device_lost(error):
                raise device_lost(job.device, error) from error
            if not is_out_of_memory(error):
                raise
            if job.device.type == "cpu":
                raise OutOfMemoryError(
                    f"memory ran out while segmenting ({error}); close other programs, crop or downsample the scan, "
                    "or label fewer organs at once"
                ) from error
        job.move_to_cpu(f"'{job.device}' has too little memory for this scan; it was segmented on the CPU")


def _segment_need(request: Request, models: LoadedModels) -> Estimate:
    others = {s.volume.content_hash: s.volume.shape[0] for s in request.supports if s.volume is not request.query}
    encodes = bool(others) or request.settings.method == "prototypes"
    depth = request.query.shape[0] + sum(others.values()) if encodes else 0
    return estimate(
        request.query.shape,
        model_bytes=models.nbytes,
        input_size=input_size(models.encoder),
        feature_bytes=feature_bytes(models.encoder, depth),
        organs=len({organ.value for s in request.supports for organ in s.organs}),
    )


def _encode_need(volume: Volume, models: LoadedModels, n_slices: int) -> Estimate:
    return estimate(
        volume.shape,
        model_bytes=models.nbytes,
        input_size=input_size(models.encoder),
        feature_bytes=feature_bytes(models.encoder, n_slices),
    )
