"""Two processes on this machine do what one does on the joined batch."""

import os
import subprocess
import sys

import pytest
import torch

from napari_medssl.errors import DeviceError
from napari_medssl.train import distributed
from tests.train import two_processes


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    # --standalone lets the launcher choose a free port itself.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, two_processes.__file__, str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder, [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("kind", ["whole", "anchors"])
def test_gradients_and_weights_equal_one_process_on_the_joined_batch(results, kind):
    alone = two_processes.train(whole=kind == "whole")
    assert any(k.startswith("grad.") and v.abs().max() > 1e-3 for k, v in alone.items())
    for rank in results[1]:
        assert rank["size"] == 2
        for name, expected in alone.items():
            torch.testing.assert_close(rank[kind][name], expected, rtol=1e-10, atol=1e-12)


def test_plain_gathering_keeps_type_and_order(results):
    for rank in results[1]:
        expected = torch.tensor([[0, 0]] * 3 + [[1, 1]] * 3, dtype=torch.uint8)
        assert rank["plain"].dtype == torch.uint8
        assert torch.equal(rank["plain"], expected)


def test_means_over_the_processes(results):
    for rank in results[1]:
        assert torch.equal(rank["mean"], torch.tensor([1.0, 1.5]))
        assert rank["count"].item() == 0.5


def test_main_process_goes_first(results):
    assert (results[0] / "order").read_text().split() == ["0", "1"]


def test_alone_everything_is_the_identity():
    z = torch.randn(4, 3, requires_grad=True)
    assert distributed.world() == (0, 1)
    assert distributed.is_main()
    assert distributed.gather(z) is z
    assert not distributed.gather_plain(z).requires_grad
    assert torch.equal(distributed.mean_over_ranks(z), z.detach())
    distributed.barrier()
    distributed.shutdown()


def test_without_torchrun_a_process_stays_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert distributed.init_from_environment("cpu") == torch.device("cpu")
    assert distributed.world() == (0, 1)


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DeviceError, match="found 1 GPU"):
        distributed.init_from_environment("cuda")
