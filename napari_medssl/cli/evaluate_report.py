"""The report of `medssl evaluate`, for all its tasks."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from napari_medssl.io.folders import make_folder
from napari_medssl.report import environment, write_report

if TYPE_CHECKING:
    from napari_medssl.evaluate.candidate import Candidate


def weights_facts(candidates: list[Candidate]) -> dict[str, dict[str, Any]]:
    """What was judged, for the report."""
    return {c.name: {"encoder": c.kind, "dims": c.dims, "size": c.size, "sha256": c.sha256} for c in candidates}


def write_out(args: argparse.Namespace, facts: dict[str, Any]) -> None:
    """Write the report of a run into the folder --out, which is made when it is not there."""
    make_folder(args.out)
    write_report(args.out / "evaluate.json", {**environment(), "command": ["medssl", *args.argv], **facts})
