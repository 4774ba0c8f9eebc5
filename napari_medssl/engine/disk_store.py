"""Features on disk: one safetensors file per key, damaged files dropped, the total bounded."""

from __future__ import annotations

import json
import logging
import os
import time
import zlib
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from napari_medssl.errors import FormatError
from napari_medssl.io.atomic import replacing
from napari_medssl.models.features import FeatureStack, SliceFrame

_log = logging.getLogger(__name__)

FORMAT = 1
_SUFFIX = ".features.safetensors"
_STALE_S = 3600.0  # a temporary (hidden) file this old was left by a crash, not by a writer still at work


class DiskStore:
    """Feature files in one folder, at most `max_bytes` in all; the least recently used go first.

    Several processes may share the folder: files appear whole (temporary file, then rename), and one that vanished,
    is cut short or fails its checksum is a miss. The store only saves time, so a full disk or a folder that cannot
    be written is logged and otherwise ignored.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self.folder = Path(folder)
        self.max_bytes = max_bytes

    def read(self, name: str) -> FeatureStack | None:
        """The features stored under `name`, or None; a damaged file is removed."""
        path = self._path(name)
        try:
            stack = _load(path, name)
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("dropping the damaged feature file %s: %s", path, error)
            _remove(path)
            return None
        try:
            os.utime(path)  # its age is the time since its last use
        except OSError:
            _log.debug("cannot mark %s as used", path)
        return stack

    def write(self, name: str, stack: FeatureStack) -> None:
        """Store features under `name` and make room for them."""
        if stack.nbytes > self.max_bytes:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _save(self._path(name), name, stack)
        except (OSError, FormatError, SafetensorError) as error:
            _log.warning("features are not kept on disk: %s", error)
        self._trim()

    @property
    def nbytes(self) -> int:
        """Bytes of all feature files in the folder."""
        return sum(size for _, size, _ in self._files())

    def clear(self) -> None:
        """Remove every feature file."""
        for _, _, path in self._files():
            _remove(path)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}{_SUFFIX}"

    def _files(self) -> list[tuple[float, int, Path]]:
        """(last use, bytes, path), least recently used first; not what a writer is still at work on."""
        found = []
        for path in self.folder.glob(f"*{_SUFFIX}"):
            try:
                status = path.stat()
            except OSError:  # another process removed it just now
                continue
            if not path.name.startswith(".") or time.time() - status.st_mtime > _STALE_S:
                found.append((status.st_mtime, status.st_size, path))
        return sorted(found)

    def _trim(self) -> None:
        files = self._files()
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= self.max_bytes:
                return
            _remove(path)
            total -= size


def _save(path: Path, name: str, stack: FeatureStack) -> None:
    tensor = stack.data.contiguous()
    frame = stack.frame
    meta = {
        "format": FORMAT,
        "key": name,
        "crc32": _checksum(tensor),
        "stride": stack.stride,
        "frame": [list(frame.shape), list(frame.inner), list(frame.offset), frame.size],
    }
    with replacing(path) as (part,):
        save_file({"data": tensor}, part, metadata={"features": json.dumps(meta)})


def _load(path: Path, name: str) -> FeatureStack:
    """Raises ValueError when the file is not what `_save` wrote for `name`."""
    if not path.is_file():
        raise FileNotFoundError(path)
    with safe_open(str(path), framework="pt") as f:
        meta = json.loads((f.metadata() or {})["features"])
        tensor: Tensor = f.get_tensor("data").clone()  # own memory: the mapped file may be replaced
    if meta["format"] != FORMAT or meta["key"] != name:
        raise ValueError("another format or another key")
    if meta["crc32"] != _checksum(tensor):
        raise ValueError("the checksum differs")
    (y, x), (h, w), (top, left), size = meta["frame"]
    return FeatureStack(tensor, SliceFrame((y, x), (h, w), (top, left), size), meta["stride"])


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(tensor.numpy().data)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:  # Windows: still mapped by another process
        _log.debug("cannot remove %s: %s", path, error)
