"""The page on guidance shows what really comes out."""

import doctest
import importlib
from pathlib import Path

import pytest

from napari_medssl.guidance import CONFLICTS, RULES, SYSTEMS

PAGE = Path(__file__).parents[2] / "docs" / "guidance.md"


def test_examples_on_the_page_give_what_they_show():
    text = PAGE.read_text(encoding="utf-8")
    test = doctest.DocTestParser().get_doctest(text.replace("```", "\n"), {}, "guidance.md", str(PAGE), 0)
    result = doctest.DocTestRunner().run(test)
    assert result.attempted >= 6
    assert result.failed == 0


def test_the_page_counts_right():
    text = PAGE.read_text(encoding="utf-8")
    assert f"{len(RULES)} statements" in text
    assert f"all {len(SYSTEMS)} methods" in text
    assert text.count("\n| ") - text.count("\n| ---") >= len(CONFLICTS)


@pytest.mark.parametrize("name", ["cost", "methods", "sources"])
def test_examples_in_docstrings(name):
    result = doctest.testmod(importlib.import_module(f"napari_medssl.guidance.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
