"""Warnings of the library, caught for the person who waits."""

from __future__ import annotations

import logging
import threading

from napari_medssl.train.notes import collected_notes

log = logging.getLogger("napari_medssl.train.test_notes")


def test_warnings_of_this_thread_are_collected_until_the_end() -> None:
    with collected_notes() as notes:
        log.warning("left out %s", "a.nii")
        log.info("read b.nii")
        other = threading.Thread(target=lambda: log.warning("left out c.nii"))
        other.start()
        other.join()
    log.warning("left out d.nii")
    assert notes == ["left out a.nii"]
