"""A grid of features from a scan, in windows, without ever holding all of scan and features in floating point."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from napari_medssl.dense.blend import StageBlend
from napari_medssl.dense.compute import Compute, PlainCompute, Runner, plain_runner
from napari_medssl.dense.grid import FeatureGrid, grid_source
from napari_medssl.dense.join import JoinedStages
from napari_medssl.dense.plan import VolumePlan, plan_volume
from napari_medssl.dense.pooling import Pooling
from napari_medssl.dense.prepared_scan import PreparedScan
from napari_medssl.dense.settings import ExtractSettings
from napari_medssl.dense.sink import GridWriter, writing
from napari_medssl.dense.slices import extract_slices_steps
from napari_medssl.dense.stages import takes_volumes
from napari_medssl.dense.windows import Triple
from napari_medssl.errors import SettingsError, WeightsError
from napari_medssl.progress import Steps, finish
from napari_medssl.report import plain
from napari_medssl.settings import to_dict
from napari_medssl.volume import Volume

__all__ = ["ExtractSettings", "extract", "extract_steps"]


def extract(volume: Volume, encoder: Any, settings: ExtractSettings | None = None, **options: Any) -> FeatureGrid:
    """`extract_steps` run to the end."""
    return finish(extract_steps(volume, encoder, settings, **options))


def extract_steps(
    volume: Volume,
    encoder: Any,
    settings: ExtractSettings | None = None,
    *,
    device: torch.device | str = "cpu",
    precision: str = "float32",
    encoder_facts: Mapping[str, Any] | None = None,
    source: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    run: Runner | None = None,
) -> Steps[FeatureGrid]:
    """Dense features of a scan.

    volume: any scan; voxels that are no finite numbers become the ends of its intensity window.
    encoder: of volumes (`models.encoder3d.VolumeEncoder`) or of slices (`models.encoder.Encoder`), in eval mode on
        `device`. precision: of computing, "float32", "float16" or "bfloat16".
    encoder_facts: kept in the grid: "name", "weights_sha256", ...; "spacing_mm", "stages" and "patch" among them choose
        what the settings leave open. source: what the grid remembers of its scan; `grid_source(volume)` by default.
    out: a `.zarr` to which rows are written as they are finished, or a `.npz` to keep the result in.
    run: does the batches, in place of a plain loop on `device`; the engine's own one survives a lack of memory.

    A volume encoder sees the scan on cubic voxels, windowed to [0, 1] as in training, through windows that overlap and
    are averaged with MONAI's Gaussian weights (`monai.inferers.sliding_window_inference`, row by row: only what windows
    still add to is in memory). Voxels beyond the scan are 0, as in training crops. Stages are joined on the cells of
    the finest one, each of length 1 if settings.normalise.

    Yields Progress after each batch; when given up, nothing is left at `out`. Raises SettingsError for settings the
    encoder cannot obey, WeightsError for values that are not numbers or an encoder of several channels, FormatError
    when `out` cannot be written.
    """
    settings = settings or ExtractSettings()
    facts = dict(encoder_facts or {})
    if run is None:
        run = plain_runner(encoder, PlainCompute(torch.device(device), precision), batch=settings.batch or 1)
    if not takes_volumes(encoder):
        return (
            yield from extract_slices_steps(volume, encoder, settings, facts=facts, source=source, out=out, run=run)
        )
    if int(encoder.in_channels) != 1:
        raise SettingsError(f"this encoder wants {encoder.in_channels} channels, but a scan has one; choose another")
    plan = plan_volume(volume, encoder, settings, facts)
    with writing(out, plan.shape, settings.precision, plan.affine, bounded=settings.normalise) as writer:
        work = _Extraction(plan, writer)
        steps = run(work.encode, len(work.corners), "extracting features")
        try:
            while True:
                try:
                    progress = next(steps)
                except StopIteration as stop:
                    notes: tuple[str, ...] = stop.value
                    break
                work.hand_on()  # outside `encode`, which may be repeated when memory runs out
                yield progress
        finally:
            steps.close()
        work.hand_on()
        writer.source = dict(source or grid_source(volume))
        writer.encoder = _facts(facts, plan, work, notes)
    assert writer.grid is not None
    return writer.grid


class _Extraction:
    """The state between windows: the slab they are cut from, and the rows they add to."""

    def __init__(self, plan: VolumePlan, writer: GridWriter) -> None:
        self.plan, self._writer = plan, writer
        self.corners: list[Triple] = plan.windows.corners
        self.precision = ""
        self._scan = PreparedScan(plan.volume, plan.spacing_mm, plan.settings.intensity)
        self._slab: tuple[int, Tensor] = (-1, torch.empty(0))
        self._done = 0
        self._air: list[Tensor] = []  # of a window without anything above the lower end of the intensity window
        self.empty = 0  # how many of those there were: all get the same features, computed once
        blend = plan.settings.blend
        self._stages = [
            StageBlend(plan.windows, stride=s.stride, channels=s.channels, blend=blend) for s in plan.stages
        ]
        self._joined = JoinedStages(
            plan.stages, [s.shape for s in self._stages], plan.finest, plan.cells, normalise=plan.settings.normalise
        )
        self._pooling = Pooling(plan.factors)

    def encode(self, items: range, encoder: Any, compute: Compute) -> None:
        """Add the features of these windows; everything that may run out of memory comes before the first sum."""
        windows = [self._window(self.corners[i]) for i in items]
        filled = [n for n, window in enumerate(windows) if bool(window.any())]
        if len(filled) < len(windows) and not self._air:
            self._air = [grid[0] for grid in self._encoded([torch.zeros_like(windows[0])], encoder, compute)]
        found = self._encoded([windows[n] for n in filled], encoder, compute) if filled else []
        for stage in self._stages:
            stage.reserve(self.corners[items[-1]])
        for n, i in enumerate(items):
            parts = [grid[filled.index(n)] for grid in found] if n in filled else self._air
            for stage, features in zip(self._stages, parts, strict=True):
                stage.add(features, self.corners[i])
        self.empty += len(windows) - len(filled)
        self._done = items.stop

    def hand_on(self) -> None:
        """Rows that no window will change any more go to the writer."""
        last = self._done == len(self.corners)
        below = self.plan.windows.scan[0] if last else self.corners[self._done][0]
        rows = self._joined.add([stage.take(below) for stage in self._stages])
        pooled = self._pooling.add(rows, last=last)
        if pooled.shape[1]:
            self._writer.add(pooled)

    def _encoded(self, windows: list[Tensor], encoder: Any, compute: Compute) -> list[Tensor]:
        """(B, C, z, y, x) float32 on the CPU of each chosen stage."""
        self.precision = compute.precision
        found = _stages(encoder, torch.stack(windows)[:, None], [s.number for s in self.plan.stages], compute)
        return [grid.float().cpu() for grid in found]

    def _window(self, corner: Triple) -> Tensor:
        z, y, x = corner
        if self._slab[0] != z:
            depth = self.plan.windows.size[0]
            self._slab = z, self._scan.slab(z, (depth, *self.plan.windows.scan[1:]))
        _, height, width = self.plan.windows.size
        return self._slab[1][:, y : y + height, x : x + width]


def _stages(encoder: Any, batch: Tensor, numbers: list[int], compute: Compute) -> list[Tensor]:
    batch = batch.to(compute.device)
    with compute.running():
        found = _chosen(encoder, batch, numbers)
    if compute.precision != "float32" and not _finite(found):  # half precision overflowed
        with compute.running(), torch.autocast(compute.device.type, enabled=False):
            found = _chosen(encoder, batch, numbers)
    if not _finite(found):
        raise WeightsError("the encoder gives values that are not numbers; its weights are damaged, choose others")
    return found


def _chosen(encoder: Any, batch: Tensor, numbers: list[int]) -> list[Tensor]:
    grids = encoder.stages(batch)
    return [grids[n - 1] for n in numbers]


def _finite(grids: list[Tensor]) -> bool:
    return all(bool(torch.isfinite(grid.sum(dtype=torch.float32))) for grid in grids)


def _facts(facts: Mapping[str, Any], plan: VolumePlan, work: _Extraction, notes: tuple[str, ...]) -> dict[str, Any]:
    """What the grid remembers of how it was made."""
    known: dict[str, Any] = plain(
        {
            **facts,
            "stages": [s.number for s in plan.stages],
            "channels": [s.channels for s in plan.stages],
            "strides": [s.stride for s in plan.stages],
            "spacing_mm": plan.spacing_mm,
            "precision": work.precision,
            "stored": plan.settings.precision,
            "windows": {
                "count": len(work.corners),
                "empty": work.empty,
                "size": list(plan.windows.size),
                "overlap": plan.settings.overlap,
            },
            "settings": to_dict(plan.settings),
            "notes": [*facts.get("notes", ()), *notes],
        }
    )
    return known
