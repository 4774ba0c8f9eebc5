"""Dense features are measured against the bare encoder on the same windows, and their memory in a process."""

import json

import pytest

from napari_medssl.bench import features, features_child
from napari_medssl.dense.extract import ExtractSettings
from napari_medssl.dense.files import load_grid
from napari_medssl.progress import finish
from napari_medssl.settings import to_dict

SETTINGS = ExtractSettings(stages=(3,), spacing_mm=8.0, patch=24)


def test_both_loops_see_the_same_windows(monkeypatch):
    from napari_medssl.models.unet3d import UNet3dEncoder

    seen, whole = [], UNet3dEncoder.stages

    def stages(self, volume):
        seen.append(float(volume.sum()))
        return whole(self, volume)

    monkeypatch.setattr(features, "SHAPES", ((10, 32, 32), (20, 32, 32)))
    monkeypatch.setattr(features, "SPACINGS", ((16.0, 10, 10), (8.0, 10, 10)))
    monkeypatch.setattr(UNet3dEncoder, "stages", stages)
    row = finish(features._throughput("cpu", "untrained3d", 1, SETTINGS))
    windows = [v for v in seen if v]  # probing an encoder shows it zeros
    count = (len(windows) - 1) // 2  # one for warming up
    assert windows[1 : count + 1] == pytest.approx(windows[count + 1 :])
    assert windows[0] == windows[1]
    assert row.goal == 0.85
    assert row.better == "higher"
    assert row.value > 0
    assert f"{count} windows" in row.detail


def test_the_child_extracts_what_it_is_told(tmp_path):
    task = {
        "shape": [6, 24, 24], "spacing": [20.0, 12.0, 12.0], "device": "cpu", "weights": "untrained3d",
        "settings": to_dict(SETTINGS),
    }  # fmt: skip
    for part in ("make", "measure"):
        features_child.main(tmp_path, part, json.loads(json.dumps(task)))
    facts = json.loads((tmp_path / "facts.json").read_text())
    grid = load_grid(tmp_path / "features.zarr")
    assert facts["bytes"] == grid.nbytes
    assert facts["peak"] > facts["bytes"]
    assert facts["grid"] == " x ".join(map(str, grid.data.shape))
    assert grid.encoder["spacing_mm"] == 8.0
