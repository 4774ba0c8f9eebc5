"""The engine: encode once, prompt often, one job at a time, nothing left behind."""

from __future__ import annotations

import dataclasses
import gc
import json
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import napari_medssl
from napari_medssl.engine import EncodeSettings, Engine, encode, memory
from napari_medssl.engine import engine as engine_module
from napari_medssl.engine.device import DevicePolicy
from napari_medssl.errors import DeviceError, OutOfMemoryError, SupportError, VolumeError, WeightsError
from napari_medssl.intensity import IntensitySettings, window_limits
from napari_medssl.models.slices import make_frame, slice_batch
from napari_medssl.oneshot import Segmentation, SegmentSettings
from napari_medssl.progress import Progress, Steps, finish
from napari_medssl.volume import Volume
from tests.engine.conftest import Counter, ball, scan, support_of, write_weights

PROTOTYPES = SegmentSettings(method="prototypes")


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


# Features


def test_features_are_what_the_encoder_gives_slice_by_slice(engine: Engine) -> None:
    volume = scan()
    stack = engine.features(volume)
    frame = make_frame((24, 28), (1.5, 1.5), 32)
    with torch.inference_mode():
        batch = slice_batch(volume, range(10), frame, 3, limits=window_limits(volume))
        expected = torch.cat([engine.encoder(batch[z : z + 1]) for z in range(10)])
    assert stack.data.shape == (10, 16, 8, 8)
    assert (stack.frame, stack.stride, stack.data.dtype) == (frame, 4, torch.float16)
    torch.testing.assert_close(stack.data.float(), expected, rtol=2e-3, atol=2e-3)
    assert not stack.data.is_inference()  # may be the input of a training step


def test_half_precision_storage_hardly_turns_a_feature_vector(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = engine.features(scan()).data.float()
    engine.cache.clear()
    monkeypatch.setattr(encode._Store, "write", lambda self, items, f: setattr(self, "_data", f))
    engine._encoding = EncodeSettings(batch_size=10)
    exact = engine.features(scan()).data
    assert exact.dtype == torch.float32
    assert float(torch.cosine_similarity(stored, exact, dim=1).min()) > 1 - 1e-5


def test_some_slices_in_any_order(engine: Engine) -> None:
    whole = engine.features(scan()).data
    some = engine.features(scan(), slices=[7, 0, 3]).data
    torch.testing.assert_close(some, whole[[7, 0, 3]], rtol=2e-3, atol=2e-3)
    with pytest.raises(IndexError, match=r"slices \[10, -1\] asked for; the volume has slices 0 to 9"):
        engine.features(scan(), slices=[1, 10, -1])


def test_one_slice_volume(engine: Engine) -> None:
    assert engine.features(scan(depth=1)).data.shape == (1, 16, 8, 8)


def test_same_scan_is_encoded_once(engine: Engine, counter: Counter) -> None:
    first = engine.features(scan())
    assert counter.slices == 10
    assert engine.features(scan()) is first  # another object with the same content
    assert counter.slices == 10
    assert (engine.cache.statistics.hits, engine.cache.statistics.misses) == (1, 1)
    engine.features(scan(seed=1))
    assert counter.slices == 20


def test_window_and_weights_are_part_of_the_key(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "features"
    other = write_weights(tmp_path / "other.safetensors", seed=1)
    wide = EncodeSettings(IntensitySettings(window="full"))
    for file, encoding, misses in ((weights, None, 1), (weights, wide, 1), (other, None, 1), (weights, None, 0)):
        with Engine("cpu", file, disk_cache=folder, encoding=encoding) as engine:
            engine.features(scan())
            assert engine.cache.statistics.misses == misses


def test_encoder_beyond_half_precision_is_stored_in_full(tmp_path: Path) -> None:
    with Engine("cpu", write_weights(tmp_path / "loud.safetensors", scale=1e6)) as engine:
        stack = engine.features(scan())
    assert stack.data.dtype == torch.float32
    assert bool(torch.isfinite(stack.data).all())
    assert float(stack.data.abs().max()) > 65504


def test_damaged_weights_give_a_sentence_and_no_features(tmp_path: Path) -> None:
    with Engine("cpu", write_weights(tmp_path / "nan.safetensors", scale=float("nan"))) as engine:
        with pytest.raises(WeightsError, match="values that are not numbers"):
            engine.features(scan())
        assert engine.cache.statistics.entries == 0


def test_voxels_that_are_not_numbers_do_not_spread(engine: Engine) -> None:
    data = scan().data.copy()
    data[5, 0, 0] = np.nan
    assert bool(torch.isfinite(engine.features(dataclasses.replace(scan(), data=data)).data).all())
    with pytest.raises(VolumeError, match="no finite value"):
        engine.features(dataclasses.replace(scan(), data=np.full((2, 3, 4), np.nan)))


def test_progress_comes_per_batch(weights: Path) -> None:
    reports: list[Progress] = []
    with Engine("cpu", weights, encoding=EncodeSettings(batch_size=4)) as engine:
        finish(engine.features_steps(scan()), reports.append)
    assert reports == [Progress(n, 10, "encoding") for n in (0, 4, 8, 10)]


# Cancel


def test_cancel_answers_within_one_batch_and_keeps_nothing(weights: Path) -> None:
    with Engine("cpu", weights, encoding=EncodeSettings(batch_size=2)) as engine:
        counter = Counter(engine.encoder)
        steps = engine.features_steps(scan())
        for _ in range(3):
            progress = next(steps)
        assert progress.done == counter.slices == 4
        steps.close()
        assert counter.slices == 4
        assert engine.cache.statistics.entries == 0
        assert len(engine.features(scan()).data) == 10  # the engine goes on


def test_cancel_frees_the_tensors(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Any]] = []
    init = encode._Store.__init__

    def watched(self: Any, n: int) -> None:
        init(self, n)
        made.append(weakref.ref(self))

    monkeypatch.setattr(encode._Store, "__init__", watched)
    with Engine("cpu", weights, encoding=EncodeSettings(batch_size=2)) as engine:
        steps = engine.features_steps(scan())
        for _ in range(3):
            next(steps)
        assert made[0]() is not None
        steps.close()
        gc.collect()
        assert made[0]() is None


def test_torch_switches_of_the_caller_stay_between_reports(engine: Engine) -> None:
    steps = engine.features_steps(scan())
    next(steps)
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()
    steps.close()


# Memory and devices


class FakeGpu(DevicePolicy):
    """A policy that says "cuda" and computes on the CPU."""

    def place(self, module: Any) -> Any:
        return module

    def send(self, images: torch.Tensor) -> torch.Tensor:
        return images

    def release_memory(self) -> None:
        pass


@pytest.fixture
def gpu_engine(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine that believes in a GPU; slices are resized on the CPU."""
    monkeypatch.setattr(engine_module, "choose_device", lambda name: torch.device("cuda:0"))
    monkeypatch.setattr(engine_module, "policy_for", lambda device: FakeGpu(device, batch_size=4))
    monkeypatch.setattr(engine_module, "describe_device", str)
    monkeypatch.setattr("napari_medssl.engine.report.describe_device", str)
    monkeypatch.setattr(encode, "_resize_device", lambda device: torch.device("cpu"))
    return Engine("auto", weights)


Failing = Callable[[Engine, Exception, Callable[[int], bool]], Any]


@pytest.fixture
def failing() -> Iterator[Failing]:
    """Makes an engine's encoder, but no copy of it elsewhere, raise an error for batch sizes that satisfy a test."""
    handles = []

    def fail(engine: Engine, error: Exception, when: Callable[[int], bool]) -> Any:
        encoder = engine.encoder

        def check(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
            if module is encoder and when(len(arguments[0])):
                raise error

        handles.append(encoder.register_forward_pre_hook(check))
        return handles[-1]

    yield fail
    for handle in handles:  # the models are shared with later tests
        handle.remove()


SHORTAGE = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_shortage_on_the_gpu_halves_and_gives_the_same_features(
    gpu_engine: Engine, engine: Engine, failing: Failing
) -> None:
    failing(gpu_engine, SHORTAGE, lambda n: n > 2)
    result = gpu_engine.features(scan()).data
    torch.testing.assert_close(result, engine.features(scan()).data, rtol=2e-3, atol=2e-3)


def test_gpu_too_small_falls_back_to_the_cpu_with_a_note(gpu_engine: Engine, engine: Engine, failing: Failing) -> None:
    handle = failing(gpu_engine, SHORTAGE, lambda n: True)
    other, query = scan(1), scan()
    result = gpu_engine.segment(query, [support_of(other, 4, 5, 6)], settings=PROTOTYPES)
    handle.remove()
    expected = engine.segment(query, [support_of(other, 4, 5, 6)], settings=PROTOTYPES)
    assert np.array_equal(result.labels.data, expected.labels.data)
    assert any("the rest runs on the CPU" in w for w in result.report["warnings"])
    assert gpu_engine.device.type == "cuda"  # the next job tries the GPU again


def test_pipeline_out_of_gpu_memory_starts_again_on_the_cpu(
    gpu_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[str] = []
    genuine = engine_module.segment_volume

    def once(query: Volume, supports: Any, *, models: Any, **rest: Any) -> Steps[Segmentation]:
        devices.append(models.device.type)
        if models.device.type == "cuda":
            raise SHORTAGE
        return (yield from genuine(query, supports, models=models, **rest))

    monkeypatch.setattr(engine_module, "segment_volume", once)
    query = scan()
    result = gpu_engine.segment(query, [support_of(query, 5)])
    assert devices == ["cuda", "cpu"]
    assert result.report["device"] == "cpu"
    assert any("segmented on the CPU" in w for w in result.report["warnings"])


def test_shortage_on_the_cpu_is_said(engine: Engine, failing: Failing) -> None:
    failing(engine, RuntimeError("DefaultCPUAllocator: can't allocate memory"), lambda n: True)
    with pytest.raises(OutOfMemoryError, match="one item at a time"):
        engine.features(scan())


@pytest.mark.parametrize("where", ["encoder", "pipeline"])
def test_lost_gpu_is_said_and_the_engine_is_free_again(
    gpu_engine: Engine, monkeypatch: pytest.MonkeyPatch, where: str, failing: Failing
) -> None:
    error = RuntimeError("CUDA error: unspecified launch failure")
    if where == "encoder":
        failing(gpu_engine, error, lambda n: True)
    else:

        def lost(*_: Any, **__: Any) -> Steps[Segmentation]:
            yield Progress(0, 1, "carrying")
            raise error

        monkeypatch.setattr(engine_module, "segment_volume", lost)
    query = scan()
    for _ in range(2):
        with pytest.raises(DeviceError, match="stopped answering"):
            gpu_engine.segment(query, [support_of(scan(1), 5)], settings=PROTOTYPES)


def test_run_that_cannot_fit_is_refused_before_it_starts(
    engine: Engine, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 1 << 20)
    with pytest.raises(OutOfMemoryError, match=r"segmenting a scan of 10 x 24 x 28 voxels needs about"):
        engine.segment(scan(), [support_of(scan(1), 5)])
    with pytest.raises(OutOfMemoryError, match="encoding 10 slices needs about"):
        engine.features(scan())
    assert counter.calls == 0


# Segmentation


def test_ball_is_found_and_lies_on_the_query(engine: Engine) -> None:
    query = scan()
    result = engine.segment(query, [support_of(query, 5)], settings=SegmentSettings(method="random-walker"))
    assert dice(result.labels.data == 1, ball()) > 0.85
    assert np.array_equal(result.labels.affine, query.affine)
    assert [label.value for label in result.labels.labels] == [1]


def test_changed_prompt_never_encodes_again(engine: Engine, counter: Counter) -> None:
    query, other = scan(), scan(1)
    engine.segment(query, [support_of(other, 4, 5)], settings=PROTOTYPES)
    assert counter.slices == 20
    engine.segment(query, [support_of(other, 5)], settings=PROTOTYPES)
    engine.segment(query, [support_of(other, 5)], settings=dataclasses.replace(PROTOTYPES, threshold=0.3, refine=""))
    engine.segment(query, [support_of(other, 4), support_of(query, 6)], slice_range=(2, 9), settings=PROTOTYPES)
    assert counter.slices == 20


def test_same_seed_same_output(weights: Path) -> None:
    query, other = scan(), scan(1)
    results = []
    for _ in range(2):
        with Engine("cpu", weights) as engine:
            results.append(engine.segment(query, [support_of(other, 5)], settings=PROTOTYPES))
    assert np.array_equal(results[0].labels.data, results[1].labels.data)
    assert np.array_equal(results[0].probability[1], results[1].probability[1])
    volatile = ("created", "seconds")
    first, second = ({k: v for k, v in r.report.items() if k not in volatile} for r in results)
    assert first == second


def test_report_tells_how_the_mask_came_about(engine: Engine) -> None:
    query, other = scan(), scan(1)
    settings = dataclasses.replace(PROTOTYPES, seed=7)
    result = engine.segment(query, [support_of(other, 4, 6)], slice_range=(2, 9), settings=settings)
    report = result.report
    assert json.loads(json.dumps(report)) == report
    assert report["napari_medssl"] == napari_medssl.__version__
    assert report["libraries"]["torch"] == torch.__version__
    assert (report["device"], report["precision"], report["seed"]) == ("cpu", "float32", 7)
    assert report["weights"] == {
        "name": "tiny.safetensors",
        "sha256": engine.weights_hash,
        "licence": "CC0-1.0",
        "encoder": "slice-resnet",
        "propagator": False,
        "reviser": False,
        "recogniser": False,
    }
    assert report["inputs"]["query"]["content_sha256"] == query.content_hash
    assert report["inputs"]["supports"][0]["content_sha256"] == other.content_hash
    assert report["inputs"]["supports"][0]["slices"] == [4, 6]
    assert report["settings"]["threshold"] == settings.threshold
    assert (report["slice_range"], report["slice_range_origin"]) == ([2, 9], "oracle")
    voxels = int((result.labels.data == 1).sum())
    assert report["volume_ml"] == {"1": pytest.approx(voxels * 3 * 1.5 * 1.5 / 1000, abs=1e-4)}
    assert {"checks", "encoding", "total"} <= set(report["seconds"])
    assert report["seconds"]["total"] >= report["seconds"]["encoding"] > 0
    assert report["warnings"] == []


def test_report_without_a_range_and_with_warnings(engine: Engine) -> None:
    data = scan().data.copy()
    data[0, 0, 0] = np.nan
    query = dataclasses.replace(scan(), data=data)
    report = engine.segment(query, [support_of(query, 5)]).report
    assert (report["slice_range"], report["slice_range_origin"]) == (None, "automatic")
    assert any("1 voxels" in w and "NaN" in w for w in report["warnings"])
    assert report["inputs"]["query"]["content_sha256"] == query.content_hash  # of the file, not of the repaired copy


def test_bad_input_leaves_the_engine_usable(engine: Engine) -> None:
    query = scan()
    with pytest.raises(SupportError):
        engine.segment(query, [])
    with pytest.raises(VolumeError):
        engine.segment(dataclasses.replace(query, data=np.zeros(query.shape)), [support_of(query, 5)])
    assert engine.segment(query, [support_of(query, 5)]).labels.data.any()


# Threads and lifetime


def test_two_threads_share_one_encoding(engine: Engine, counter: Counter) -> None:
    query, other = scan(), scan(1)
    results: list[Segmentation] = []

    def work() -> None:
        results.append(engine.segment(query, [support_of(other, 5)], settings=PROTOTYPES))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert len(results) == 2
    assert np.array_equal(results[0].labels.data, results[1].labels.data)
    assert counter.slices == 20


def test_the_encoder_is_lent_in_turn(engine: Engine) -> None:
    def work(encoder: torch.nn.Module) -> Steps[torch.nn.Module]:
        yield Progress(0, 1, "looking")
        return encoder

    steps = engine.lend_encoder(work)
    next(steps)
    with pytest.raises(RuntimeError, match="unfinished in this thread"):
        engine.features(scan())
    assert finish(steps) is engine.encoder
    assert engine.features(scan()).data.shape[0] == 10
    assert engine.encoding == EncodeSettings()


def test_two_engines_share_one_model(weights: Path) -> None:
    with Engine("cpu", weights) as one, Engine("cpu", weights) as two:
        assert one.encoder is two.encoder
        assert one.cache is not two.cache


def test_closed_engine_refuses_with_a_sentence(weights: Path) -> None:
    engine = Engine("cpu", weights)
    engine.features(scan())
    engine.close()
    engine.close()
    assert engine.cache.statistics.nbytes == 0
    with pytest.raises(RuntimeError, match="this engine is closed"):
        engine.features(scan())


def test_closing_during_a_job_lets_it_end_and_keeps_no_features(weights: Path) -> None:
    engine = Engine("cpu", weights, encoding=EncodeSettings(batch_size=4))
    steps = engine.features_steps(scan())
    next(steps)
    engine.close()
    assert finish(steps).data.shape[0] == 10
    assert engine.cache.statistics.entries == 0


def test_description_is_plain_json(engine: Engine) -> None:
    engine.features(scan())
    told = json.loads(json.dumps(engine.describe()))
    assert told["device"] == "cpu"
    assert told["cache"]["nbytes"] == 10 * 16 * 8 * 8 * 2
    assert told["weights"]["sha256"] == engine.weights_hash
    assert told["encoder_parameters"] == sum(p.numel() for p in engine.encoder.parameters())


def test_no_weights_at_all_still_segments() -> None:
    query, other = scan(), scan(1)
    with Engine("cpu", "none") as engine:
        assert (engine.encoder_name, engine.propagator) == ("feature-bank", None)
        across = engine.segment(query, [support_of(other, 4, 5, 6)])
        within = engine.segment(query, [support_of(query, 5)])
    assert dice(across.labels.data == 1, ball()) > 0.4
    assert dice(within.labels.data == 1, ball()) > 0.85
