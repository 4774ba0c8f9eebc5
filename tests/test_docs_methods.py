"""The page of the pretraining methods names the methods there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from napari_medssl.train.method import all_methods

PROJECT = Path(__file__).parents[1]
PAGE = (PROJECT / "docs" / "methods" / "pretraining.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text under a heading, up to the next one."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert found, f"the page has no section {title!r}"
    return found[1]


def test_the_table_names_exactly_the_registered_methods() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| ([\w-]+) \| (\d)D \|", section("All methods"), re.MULTILINE)
    methods = sorted(all_methods().values(), key=lambda m: (m.family, m.dims, m.name))  # as `medssl pretrain --list`
    assert rows == [(m.name, m.family, str(m.dims)) for m in methods]


def test_every_method_is_described_below_the_table() -> None:
    described = PAGE.replace(section("All methods"), "")
    named = set(re.findall(r"`([\w-]+)`", described))
    named |= {f"skid{suffix}" for suffix in named if suffix.startswith("-")}  # "`skid-v1`, `-v2`"
    assert set(all_methods()) <= named


@pytest.mark.parametrize("document", ["README.md", "CHANGELOG.md", "docs/pretraining.md"])
def test_the_number_of_methods_is_up_to_date(document: str) -> None:
    text = (PROJECT / document).read_text(encoding="utf-8")
    told = re.findall(r"\b(\d+)\s+(?:self-supervised\s+)?methods\b", text)
    assert told == [str(len(all_methods()))]
