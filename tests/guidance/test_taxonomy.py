"""The table of methods names every system of the documents, and every method there is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from napari_medssl.guidance import METHODS, NOTICE, SYSTEMS

OURS = {"incontext", "propagation", "guided-propagation", "recognition", "voxel-contrast"}
FAMILIES = {"contrastive", "non-contrastive", "predictive", "generative", "hybrid", "episodes"}


def test_there_are_121_rows_each_with_its_place() -> None:
    assert [system.number for system in SYSTEMS] == list(range(1, 122))
    assert [system.id for system in SYSTEMS[:2]] == ["S01", "S02"]
    assert all(system.sources for system in SYSTEMS)
    assert Counter(system.role for system in SYSTEMS)["advice"] == 4


def test_families_are_known_and_agree_with_the_methods() -> None:
    for system in SYSTEMS:
        families = set(system.family.split(", ")) - {""}
        assert families <= FAMILIES
        for name in system.methods:
            assert name in METHODS
            if families and system.number != 16:
                assert METHODS[name].family in families, (system.id, name)


def test_every_method_has_a_row() -> None:
    named = {name for system in SYSTEMS for name in system.methods}
    assert named == set(METHODS) - OURS


def test_registered_methods_are_in_the_table() -> None:
    """A method that is added must be placed in a family here, and in the same one."""
    from napari_medssl.train.method import all_methods

    registered = all_methods()
    assert set(METHODS) == set(registered), "napari_medssl/guidance/methods.py lists the methods"
    for name, method in registered.items():
        assert (METHODS[name].family, METHODS[name].dims) == (method.family, method.dims), name


def test_the_notice_stands_in_the_documents_too() -> None:
    assert NOTICE.startswith("For research only, not for diagnosis.")
    assert "research" in (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8").lower()


@pytest.mark.parametrize("kind", sorted({entry.kind for entry in METHODS.values()}))
def test_methods_of_a_kind_share_a_family(kind: str) -> None:
    assert len({entry.family for entry in METHODS.values() if entry.kind == kind}) == 1
