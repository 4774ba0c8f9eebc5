"""Features kept in memory and on disk."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from pathlib import Path

import pytest
import torch

from napari_medssl.engine.cache import FeatureCache, FeatureKey
from napari_medssl.engine.disk_store import DiskStore
from napari_medssl.models.features import FeatureStack, SliceFrame

FRAME = SliceFrame((24, 28), (27, 32), (2, 0), 32)
BYTES = 4 * 2 * 8 * 8 * 2


def stack(fill: float) -> FeatureStack:
    return FeatureStack(torch.full((4, 2, 8, 8), fill, dtype=torch.float16), FRAME, 4)


def key(volume: str) -> FeatureKey:
    return FeatureKey(volume, "weights", "window", "float32-float16")


def test_every_part_of_the_key_counts() -> None:
    base = key("a")
    names = {dataclasses.replace(base, **{f.name: "other"}).name for f in dataclasses.fields(base)}
    assert len(names | {base.name}) == 5
    assert key("a").name == base.name


def test_least_recently_used_goes_first_and_the_budget_holds() -> None:
    cache = FeatureCache(2 * BYTES)
    for name, fill in (("a", 1.0), ("b", 2.0)):
        cache.put(key(name), stack(fill))
    assert cache.get(key("a")) is not None  # now b is the older
    cache.put(key("c"), stack(3.0))
    assert cache.get(key("b")) is None
    kept = [cache.get(key(name)) for name in ("a", "c")]
    assert [float(s.data[0, 0, 0, 0]) for s in kept if s is not None] == [1.0, 3.0]
    s = cache.statistics
    assert (s.hits, s.misses, s.evictions, s.entries, s.nbytes) == (3, 1, 1, 2, 2 * BYTES)


def test_stack_beyond_the_whole_budget_evicts_nothing() -> None:
    cache = FeatureCache(BYTES)
    cache.put(key("a"), stack(1.0))
    cache.put(key("big"), FeatureStack(torch.zeros(8, 2, 8, 8, dtype=torch.float16), FRAME, 4))
    assert cache.get(key("big")) is None
    assert cache.get(key("a")) is not None


def test_replacing_counts_its_bytes_once() -> None:
    cache = FeatureCache(4 * BYTES)
    cache.put(key("a"), stack(1.0))
    cache.put(key("a"), stack(2.0))
    assert cache.statistics.nbytes == BYTES
    cache.clear()
    assert (cache.statistics.nbytes, cache.statistics.entries) == (0, 0)


def test_threads_leave_the_books_balanced() -> None:
    cache = FeatureCache(5 * BYTES)

    def work(seed: int) -> None:
        for n in range(200):
            name = key(str((n * seed) % 11))
            if cache.get(name) is None:
                cache.put(name, stack(float(seed)))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 3, 7)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    s = cache.statistics
    assert s.hits + s.misses == 600
    assert s.nbytes == s.entries * BYTES <= 5 * BYTES


def test_disk_brings_features_into_a_later_session(tmp_path: Path) -> None:
    FeatureCache(4 * BYTES, disk=DiskStore(tmp_path / "new" / "folder", max_bytes=1 << 20)).put(key("a"), stack(1.5))
    later = FeatureCache(4 * BYTES, disk=DiskStore(tmp_path / "new" / "folder", max_bytes=1 << 20))
    found = later.get(key("a"))
    assert found is not None
    assert torch.equal(found.data, stack(1.5).data)
    assert (found.frame, found.stride, found.data.dtype) == (FRAME, 4, torch.float16)
    assert later.get(key("a")) is found  # from memory now
    assert (later.statistics.hits, later.statistics.disk_hits, later.statistics.misses) == (2, 1, 0)
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 1


def the_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "flipped", "another key"])
def test_damaged_file_is_a_miss_and_goes(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    store = DiskStore(tmp_path, max_bytes=1 << 20)
    store.write("a", stack(1.0))
    path = the_file(tmp_path)
    content = path.read_bytes()
    if damage == "another key":
        path = path.rename(tmp_path / path.name.replace("a.", "b.", 1))
    else:
        path.write_bytes(
            {
                "truncated": content[: len(content) // 2],
                "garbage": b"not a safetensors file at all",
                "empty": b"",
                "flipped": content[:-1] + bytes([content[-1] ^ 1]),
            }[damage]
        )
    assert store.read("b" if damage == "another key" else "a") is None
    assert not path.exists()
    assert "dropping the damaged feature file" in caplog.text


def test_missing_file_is_a_silent_miss(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert DiskStore(tmp_path / "nothing here", max_bytes=1 << 20).read("a") is None
    assert caplog.text == ""


def test_disk_bytes_are_bounded_and_the_oldest_use_goes_first(tmp_path: Path) -> None:
    probe = DiskStore(tmp_path / "probe", max_bytes=1 << 20)
    probe.write("a", stack(1.0))
    each = probe.nbytes
    store = DiskStore(tmp_path / "store", max_bytes=2 * each + each // 2)
    for age, name in ((300, "a"), (200, "b")):
        store.write(name, stack(1.0))
        moment = time.time() - age
        os.utime(store.folder / f"{name}.features.safetensors", (moment, moment))
    assert store.read("a") is not None  # now b is the older
    store.write("c", stack(1.0))
    assert store.nbytes <= store.max_bytes
    assert [store.read(n) is not None for n in "abc"] == [True, False, True]
    store.clear()
    assert store.nbytes == 0


def test_leftovers_of_a_crash_are_swept_and_work_in_progress_is_not(tmp_path: Path) -> None:
    old, fresh = (tmp_path / f".{name}-a.features.safetensors" for name in ("old", "fresh"))
    for path in (old, fresh):
        path.write_bytes(b"half" * 1000)
    os.utime(old, (time.time() - 7200,) * 2)
    store = DiskStore(tmp_path, max_bytes=2 * BYTES)
    store.write("a", stack(1.0))
    assert store.read("a") is not None
    assert (old.exists(), fresh.exists()) == (False, True)


def test_folder_that_cannot_be_written_only_costs_the_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = FeatureCache(4 * BYTES, disk=DiskStore(tmp_path / "file", max_bytes=1 << 20))
    cache.put(key("a"), stack(1.0))
    assert cache.get(key("a")) is not None
    assert "features are not kept on disk" in caplog.text
