"""Options come from the settings dataclasses: names, types, limits."""

import json
from dataclasses import dataclass, field
from typing import Literal

import pytest

from napari_medssl.cli.arguments import slice_range
from napari_medssl.cli.options import options, settings_from
from napari_medssl.errors import SettingsError
from napari_medssl.settings import setting
from napari_medssl.volume import SoftRange


@dataclass(frozen=True)
class Inner:
    step_mm: float = setting(2.5, "step", ge=0, le=20)
    mirror: bool = setting(True, "mirror")


@dataclass(frozen=True)
class Outer:
    method: Literal["auto", "panet"] = setting("auto", "how")
    count: int = setting(3, "how many", ge=1)
    limit: float | None = setting(None, "limit")
    sizes: tuple[int, ...] = setting((1, 2), "sizes")
    inner: Inner = field(default_factory=Inner)


def test_every_setting_is_listed_once_with_its_limits():
    listed = {o.name: (o.default, o.allowed, o.text) for o in options(Outer)}
    assert list(listed) == ["method", "count", "limit", "sizes", "inner.step_mm", "inner.mirror"]
    assert listed["method"] == ("auto", "auto | panet", "how")
    assert listed["inner.step_mm"] == (2.5, "float 0..20", "step")
    assert listed["inner.mirror"][1] == "true | false"


def test_assignments_are_parsed_by_type():
    made = settings_from(
        Outer, assignments=["method=panet", "count=5", "inner.step_mm=3", "inner.mirror=no", "sizes=4,5,6", "limit=2"]
    )
    assert made == Outer("panet", 5, 2.0, (4, 5, 6), Inner(3.0, False))
    assert settings_from(Outer, assignments=["limit=none"]).limit is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("count", "has no '='"),
        ("count=two", r"count cannot be 'two'; it takes int from 1"),
        ("count=0", "count is 0; it must"),
        ("inner.mirror=perhaps", r"it takes true \| false"),
        ("method=x", r"it takes auto \| panet"),
        ("step_mm=1", r"no setting is called 'step_mm'; did you mean 'inner.step_mm'"),
    ],
)
def test_a_wrong_assignment_says_what_is_allowed(text, message):
    with pytest.raises(SettingsError, match=message):
        settings_from(Outer, assignments=[text])


def test_a_file_comes_before_assignments(tmp_path):
    path = tmp_path / "s.json"
    path.write_text(json.dumps({"count": 7, "inner": {"step_mm": 4}}))
    assert settings_from(Outer, file=path, assignments=["count=8"]) == Outer(count=8, inner=Inner(4))


def test_the_settings_of_a_report_can_be_used_again(tmp_path):
    path = tmp_path / "liver.report.json"
    path.write_text(json.dumps({"seconds": 3, "settings": {"sizes": [9], "limit": None}}))
    assert settings_from(Outer, file=path).sizes == (9,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[1]", "must hold a JSON object"),
        ('{"count": "7"}', "count cannot be '7'; it takes int"),
        ('{"count": true}', "count cannot be True"),
        ('{"inner": {"step": 1}}', "no setting is called 'inner.step'"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "s.json"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        settings_from(Outer, file=path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"cannot read the settings file .*none\.json"):
        settings_from(Outer, file=tmp_path / "none.json")


@pytest.mark.parametrize(("text", "span"), [("2:5", (2, 5)), (":5", (0, 5)), ("2:", (2, 9)), (":", (0, 9))])
def test_slice_ranges_are_half_open(text, span):
    assert slice_range(text, 9) == span
    assert type(slice_range(text, 9)) is tuple
    assert type(slice_range(text, 9, soft=True)) is SoftRange


@pytest.mark.parametrize("text", ["5", "a:b", "5:5", "-1:3", "0:10"])
def test_a_wrong_slice_range_is_refused(text):
    with pytest.raises(SettingsError, match="--slices"):
        slice_range(text, 9)
