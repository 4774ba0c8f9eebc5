"""Choosing a device and a policy for it."""

from __future__ import annotations

import pytest
import torch

from napari_medssl.engine import device as device_module
from napari_medssl.engine.device import DevicePolicy, choose_device, policy_for
from napari_medssl.errors import DeviceError


@pytest.fixture
def no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that lists two CUDA GPUs, which compute unless a test says otherwise."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(device_module, "_check_computes", lambda device: None)


def test_auto_takes_the_cpu_without_an_accelerator(no_accelerator: None) -> None:
    assert choose_device("auto") == torch.device("cpu")


@pytest.mark.usefixtures("no_accelerator")
@pytest.mark.parametrize(("name", "words"), [("cuda", "CUDA"), ("cuda:1", "CUDA"), ("mps", "Apple GPU")])
def test_missing_accelerator_is_said_with_a_way_out(name: str, words: str) -> None:
    with pytest.raises(DeviceError, match=words) as error:
        choose_device(name)
    assert f"'{name}'" in str(error.value)
    assert "choose 'auto' or 'cpu'" in str(error.value)


@pytest.mark.parametrize("name", ["gpu", "", "xpu", "cpu:3", "cuda:x", "meta"])
def test_unknown_names_list_the_known_ones(name: str) -> None:
    with pytest.raises(DeviceError, match="choose auto, cpu, cuda"):
        choose_device(name)


@pytest.mark.usefixtures("two_gpus")
def test_gpu_number_beyond_the_last_names_those_there() -> None:
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(DeviceError, match=r"2 CUDA GPU\(s\), cuda:0 to cuda:1"):
        choose_device("cuda:2")


@pytest.mark.usefixtures("two_gpus")
def test_auto_passes_over_a_gpu_that_cannot_compute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    def refuse(device: torch.device) -> None:
        raise DeviceError("no kernel image is available")

    monkeypatch.setattr(device_module, "_check_computes", refuse)
    assert choose_device("auto") == torch.device("cpu")
    assert "no kernel image" in caplog.text
    with pytest.raises(DeviceError, match="no kernel image"):
        choose_device("cuda")


def test_cpu_never_computes_in_half_precision() -> None:
    policy = policy_for(torch.device("cpu"))
    assert policy.autocast is None
    assert policy.precision == "float32"
    with policy.running():
        assert not torch.is_autocast_enabled("cpu")
        assert torch.nn.Conv2d(1, 2, 3)(torch.ones(1, 1, 5, 5)).dtype == torch.float32


@pytest.mark.parametrize(("capability", "autocast"), [((6, 1), None), ((7, 5), torch.float16), ((9, 0), torch.float16)])
def test_cuda_uses_half_precision_only_with_tensor_cores(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], autocast: torch.dtype | None
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    policy = policy_for(torch.device("cuda:0"))
    assert policy.autocast == autocast
    assert policy.channels_last == (autocast is not None)
    assert policy.pinned


def test_global_switches_are_put_back_even_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    policy = DevicePolicy(torch.device("cuda"))
    before = torch.backends.cudnn.deterministic, torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    try:
        with policy.running():
            assert torch.is_inference_mode_enabled()
            assert not torch.backends.cudnn.benchmark
            assert torch.backends.cudnn.deterministic
            raise KeyError
    except KeyError:
        pass
    assert torch.backends.cudnn.benchmark
    assert (torch.backends.cudnn.deterministic, torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before


def test_channels_last_changes_layout_and_not_values() -> None:
    policy = DevicePolicy(torch.device("cpu"), channels_last=True)
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    sent = policy.send(images)
    assert sent.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(sent, images)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(144, 2))
    expected = module(images)
    assert policy.place(module) is module
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(module(sent), expected)
