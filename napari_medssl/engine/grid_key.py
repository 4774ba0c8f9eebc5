"""By what a feature grid is found again among those kept in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from napari_medssl.dense.settings import ExtractSettings
from napari_medssl.settings import to_dict

_MAKING = 1  # raise it when grids are made in another way


def grid_key(content_hash: str, facts: Mapping[str, Any], settings: ExtractSettings, precision: str) -> str:
    """What a grid depends on: the scan's content, the weights, the settings, the precision of computing."""
    told = [_MAKING, content_hash, facts.get("name"), facts.get("weights_sha256"), to_dict(settings), precision]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
