"""Errors of the package: one root to catch, and each caught by it alone."""

from __future__ import annotations

import inspect

import pytest

from napari_medssl import errors

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("kind", KINDS)
def test_one_except_clause_catches_every_error_and_keeps_its_sentence(kind: type[Exception]) -> None:
    with pytest.raises(errors.MedSSLError, match="paint one voxel"):
        raise kind("paint one voxel")


@pytest.mark.parametrize("builtin", [ValueError, RuntimeError, OSError, MemoryError])
def test_no_error_hides_behind_a_builtin(builtin: type[Exception]) -> None:
    # Programming mistakes raise builtins; catching those must not swallow what the user should read.
    assert not any(issubclass(kind, builtin) for kind in KINDS)
