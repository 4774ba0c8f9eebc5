"""Settings: written once, checked, turned into dictionaries and back."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytest

from napari_medssl.errors import SettingsError
from napari_medssl.settings import check, digest, from_dict, setting, to_dict


@dataclass(frozen=True)
class Inner:
    share: float = setting(0.5, "a share", ge=0, le=1, advanced=True)
    kind: Literal["a", "b"] = setting("a", "a choice")
    window: Literal[2, 4] = setting(2, "a choice of numbers")


@dataclass(frozen=True)
class Outer:
    count: int = setting(3, "a number", ge=1)
    name: str = setting("x", "a text")
    on: bool = setting(True, "a switch")
    most: float = setting(1.0, "a bounded number", le=9)
    sizes: tuple[int, ...] = setting((1, 2), "some numbers")
    inner: Inner = field(default_factory=Inner)


def test_setting_keeps_explanation_and_limits() -> None:
    share = dataclasses.fields(Inner)[0]
    assert share.default == 0.5
    assert dict(share.metadata) == {"text": "a share", "ge": 0, "le": 1, "advanced": True}


def test_through_json_and_back_is_the_same_settings() -> None:
    settings = Outer(count=7, sizes=(4, 5, 6), inner=Inner(share=0.25, kind="b", window=4))
    assert from_dict(Outer, json.loads(json.dumps(to_dict(settings)))) == settings


def test_a_partial_dictionary_keeps_the_other_defaults() -> None:
    assert from_dict(Outer, {"inner": {"kind": "b"}}) == Outer(inner=Inner(kind="b"))
    assert from_dict(Outer, {}) == Outer()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cuont": 2}, r"unknown setting 'cuont'; Outer has: count, inner, most, name, on, sizes"),
        ({"inner": {"shar": 2}}, r"unknown setting 'shar'; Inner has: kind, share, window"),
        ({"count": 0}, r"count is 0; it must be at least 1$"),
        ({"most": 10}, r"most is 10; it must be at most 9$"),
        ({"inner": {"share": 1.5}}, r"share is 1.5; it must be at least 0 and at most 1$"),
        ({"inner": {"share": float("nan")}}, r"share is nan"),
        ({"most": float("-inf")}, r"most is -inf"),
        ({"inner": {"kind": "c"}}, r"kind is 'c'; choose one of 'a', 'b'"),
        ({"inner": {"window": 3}}, r"window is 3; choose one of 2, 4"),
        ({"count": "3"}, r"count is '3'; it must be a whole number"),
        ({"count": 2.5}, r"count is 2.5; it must be a whole number"),
        ({"count": True}, r"count is True; it must be a whole number"),
        ({"most": None}, r"most is None; it must be a number"),
        ({"name": 4}, r"name is 4; it must be text"),
        ({"on": 1}, r"on is 1; it must be true or false"),
        ({"inner": 3}, r"inner is 3; it must be a group of settings"),
    ],
)
def test_a_wrong_value_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        from_dict(Outer, values)


def test_limits_are_inclusive_and_whole_numbers_do_for_fractions() -> None:
    check(Outer(count=1, most=9, inner=Inner(share=0)))
    check(Inner(share=1))


def test_numbers_of_numpy_are_numbers() -> None:
    check(Outer(count=np.int64(2), most=np.float32(1.5)))  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="count is 0"):
        check(Outer(count=np.int64(0)))  # type: ignore[arg-type]


def test_check_looks_into_nested_settings_built_by_hand() -> None:
    with pytest.raises(SettingsError, match="share is -1"):
        check(Outer(inner=Inner(share=-1)))


def test_equal_settings_have_equal_digests_and_any_change_shows() -> None:
    assert digest(Outer()) == digest(from_dict(Outer, to_dict(Outer())))
    changed = [Outer(count=4), Outer(inner=Inner(share=0.1)), Outer(sizes=(2, 1))]
    assert len({digest(s) for s in [Outer(), *changed]}) == 4
    assert len(digest(Outer())) == 16


def test_the_digest_does_not_change_between_versions() -> None:
    # Cache keys on disk outlive a process: the value is pinned.
    assert digest(Inner()) == "b83b2b1ad9e1edcc"
