"""Memory asked for and memory there."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_medssl.engine import memory
from napari_medssl.engine.memory import available_bytes, batch_that_fits, estimate, require
from napari_medssl.errors import OutOfMemoryError

GIB = 1 << 30


def test_estimate_keeps_the_promise_of_three_float_copies() -> None:
    need = estimate((4, 10, 10), model_bytes=100, input_size=32, feature_bytes=1000, organs=1)
    assert (need.model, need.features, need.volume, need.probability) == (100, 1000, 3 * 400 * 4, 400 * 2)
    assert need.total == 100 + 1000 + 4800 + 800 + need.workspace


def test_encoding_alone_never_converts_the_whole_scan() -> None:
    need = estimate((4, 10, 10), model_bytes=0, input_size=32, feature_bytes=0)
    assert (need.volume, need.probability) == (0, 0)


def test_large_ct_fits_a_laptop_with_eight_gib() -> None:
    features = 400 * 128 * 48 * 48 * 2
    need = estimate((400, 512, 512), model_bytes=12 << 20, input_size=192, feature_bytes=features, organs=1)
    require(need, what="segmenting", available=4 * GIB)  # half of the laptop is taken by the rest


@pytest.mark.parametrize(("organs", "peak_mib"), [(1, 1055), (3, 1792), (5, 2785), (1, 1128), (3, 1743)])
def test_estimate_covers_what_was_measured(organs: int, peak_mib: int) -> None:
    need = estimate((400, 512, 512), model_bytes=10 << 20, input_size=192, feature_bytes=0, organs=organs)
    assert peak_mib <= need.total / (1 << 20) < 2 * peak_mib


def test_refusal_says_how_much_and_what_to_change() -> None:
    need = estimate((400, 512, 512), model_bytes=0, input_size=192, feature_bytes=0, organs=1)
    with pytest.raises(
        OutOfMemoryError, match=r"segmenting it needs about 1\.\d GiB of memory but 1\.0 GiB is free"
    ) as e:
        require(need, what="segmenting it", available=GIB)
    assert "crop or downsample" in str(e.value)


def test_nothing_is_refused_where_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: None)
    require(estimate((4000, 5000, 5000), model_bytes=0, input_size=32, feature_bytes=0, organs=9), what="all")
    assert batch_that_fits(1 << 40, 8) == 8


def test_batches_take_at_most_half_of_what_is_free() -> None:
    assert batch_that_fits(100, 8, available=10_000) == 8
    assert batch_that_fits(100, 8, available=600) == 3
    assert batch_that_fits(100, 8, available=10) == 1


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = {"proc/meminfo": "MemTotal:  16000000 kB\nMemFree: 1 kB\nMemAvailable:   8000000 kB\n"}


def test_machine_memory_is_what_can_be_had_without_swapping(tmp_path: Path) -> None:
    assert available_bytes(write(tmp_path, MEMINFO)) == 8_000_000 * 1024


def test_control_group_two_limits_at_any_level(tmp_path: Path) -> None:
    group = "sys/fs/cgroup/user/job"
    stat = "anon 5\ninactive_file 1000\n"
    root = write(
        tmp_path,
        {
            **MEMINFO,
            "proc/self/cgroup": "0::/user/job\n",
            f"{group}/memory.max": "max\n",
            f"{group}/memory.current": "4000\n",
            f"{group}/memory.stat": stat,
            "sys/fs/cgroup/user/memory.max": "10000\n",
            "sys/fs/cgroup/user/memory.current": "6000\n",
            "sys/fs/cgroup/user/memory.stat": stat,
        },
    )
    assert available_bytes(root) == 10000 - 6000 + 1000


def test_control_group_one_in_a_container_is_read_at_the_mount(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            **MEMINFO,
            "proc/self/cgroup": "5:cpuset:/\n4:memory:/docker/abc\n0::/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "5000\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "7000\n",
            "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 2500\n",
        },
    )
    assert available_bytes(root) == 500


def test_huge_number_of_control_group_one_means_no_limit(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            **MEMINFO,
            "proc/self/cgroup": "4:memory:/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "7000\n",
            "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 0\n",
        },
    )
    assert available_bytes(root) == 8_000_000 * 1024


def test_this_machine_answers_with_a_sensible_number() -> None:
    found = available_bytes()
    assert found is None or 1 << 20 < found < 1 << 46
