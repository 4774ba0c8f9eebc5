"""The table from name to factory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from napari_medssl.errors import SettingsError
from napari_medssl.registry import Registry


@pytest.fixture
def tools() -> Registry[Callable[[], str]]:
    registry: Registry[Callable[[], str]] = Registry("tool")

    @registry.register("saw")
    def saw() -> str:
        return "cut"

    @registry.register("awl")
    def awl() -> str:
        return "prick"

    return registry


def test_what_was_registered_is_found_by_name_in_sorted_order(tools: Registry[Callable[[], str]]) -> None:
    assert list(tools) == ["awl", "saw"]
    assert tools["saw"]() == "cut"
    assert "awl" in tools
    assert "hammer" not in tools


def test_an_unknown_name_lists_the_known_ones(tools: Registry[Callable[[], str]]) -> None:
    with pytest.raises(SettingsError, match=r"no tool is called 'hammer'; choose one of: awl, saw"):
        tools["hammer"]


def test_a_slip_of_the_pen_is_understood(tools: Registry[Callable[[], str]]) -> None:
    with pytest.raises(SettingsError, match=r"no tool is called 'swa'; did you mean 'saw'\? All of them: awl, saw"):
        tools["swa"]


def test_a_name_is_taken_once_and_the_first_stays(tools: Registry[Callable[[], str]]) -> None:
    with pytest.raises(ValueError, match="tool 'saw' is registered twice"):
        tools.register("saw")(lambda: "other")
    assert tools["saw"]() == "cut"


def test_the_decorator_leaves_the_factory_usable(tools: Registry[Callable[[], str]]) -> None:
    def rasp() -> str:
        return "file"

    assert tools.register("rasp")(rasp) is rasp
