"""Batches that shrink when memory runs out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from napari_medssl.engine.batches import Batches, is_device_lost, is_out_of_memory, run_batches
from napari_medssl.engine.device import DevicePolicy
from napari_medssl.errors import DeviceError, OutOfMemoryError
from napari_medssl.progress import Progress, finish

CPU = DevicePolicy(torch.device("cpu"), batch_size=4)
GPU = DevicePolicy(torch.device("cuda"), batch_size=4)  # a label only: nothing is placed on it

SHORTAGES = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 8.1 GB)"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 99 bytes."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError(),
]


def fits(limit: int, error: BaseException) -> Callable[[range, DevicePolicy], tuple[str, list[int]]]:
    """Work that fits a GPU in batches of at most `limit`, and the CPU always."""

    def work(items: range, policy: DevicePolicy) -> tuple[str, list[int]]:
        if policy.device.type != "cpu" and len(items) > limit:
            raise error
        return policy.device.type, list(items)

    return work


def run(work: Callable[..., object], n: int, policy: DevicePolicy) -> tuple[Batches[object], list[Progress]]:
    reports: list[Progress] = []
    done = finish(run_batches(work, n, policy=policy, label="encoding"), reports.append)
    return done, reports


def test_items_come_in_order_with_one_report_per_batch() -> None:
    done, reports = run(fits(4, MemoryError()), 10, CPU)
    assert [r[1] for r in done.results] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]  # type: ignore[index]
    assert reports == [Progress(n, 10, "encoding") for n in (0, 4, 8, 10)]
    assert done.notes == ()


@pytest.mark.parametrize("error", SHORTAGES, ids=lambda e: str(e)[:20] or type(e).__name__)
def test_shortage_halves_the_batch_and_goes_on(error: BaseException) -> None:
    done, reports = run(fits(1, error), 5, GPU)
    assert list(done.results) == [("cuda", [n]) for n in range(5)]
    assert done.batch_size == 1
    assert [r.done for r in reports] == [0, 1, 2, 3, 4, 5]
    assert [("4; using 2" in n, "2; using 1" in n) for n in done.notes] == [(True, False), (False, True)]


@pytest.mark.parametrize("error", SHORTAGES, ids=lambda e: str(e)[:20] or type(e).__name__)
def test_one_item_too_large_moves_to_the_cpu(error: BaseException) -> None:
    done, _ = run(fits(0, error), 5, GPU)
    assert [r[0] for r in done.results] == ["cpu"]  # type: ignore[index]
    assert done.policy.device.type == "cpu"
    assert done.policy.autocast is None
    assert "the rest runs on the CPU" in done.notes[-1]


def test_finished_batches_are_not_done_again_after_a_shortage() -> None:
    seen: list[list[int]] = []

    def work(items: range, policy: DevicePolicy) -> None:
        if items.start >= 4 and len(items) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        seen.append(list(items))

    run(work, 7, GPU)
    assert seen == [[0, 1, 2, 3], [4], [5], [6]]


def test_cpu_without_memory_says_what_to_do() -> None:
    def work(items: range, policy: DevicePolicy) -> None:
        raise MemoryError("4 GiB")

    with pytest.raises(OutOfMemoryError, match=r"encoding: memory ran out even one item at a time \(4 GiB\); close"):
        run(work, 3, CPU)


def test_other_errors_pass_through_untouched() -> None:
    def work(items: range, policy: DevicePolicy) -> None:
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match=r"^shape mismatch$"):
        run(work, 3, GPU)


LOST = [
    RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be reported later"),
    RuntimeError("CUDA error: device-side assert triggered"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
]


@pytest.mark.parametrize("error", LOST, ids=str)
def test_lost_gpu_becomes_a_sentence(error: RuntimeError) -> None:
    def work(items: range, policy: DevicePolicy) -> None:
        raise error

    with pytest.raises(DeviceError, match=r"'cuda' stopped answering .*choose the device 'cpu' or restart") as raised:
        run(work, 3, GPU)
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is error


@pytest.mark.skipif(not hasattr(torch, "AcceleratorError"), reason="this PyTorch has no AcceleratorError")
def test_accelerator_error_is_a_lost_device_unless_it_is_about_memory() -> None:
    assert is_device_lost(torch.AcceleratorError("the launch timed out"))
    assert not is_device_lost(torch.AcceleratorError("CUDA error: out of memory"))
    assert is_out_of_memory(torch.AcceleratorError("CUDA error: out of memory"))


def test_closing_stops_before_the_next_batch() -> None:
    seen: list[int] = []

    def work(items: range, policy: DevicePolicy) -> None:
        seen.append(items.start)

    steps = run_batches(work, 12, policy=CPU, label="encoding")
    assert next(steps).done == 0
    assert next(steps).done == 4
    steps.close()
    assert seen == [0]
