"""Errors and notes as napari notifications: one sentence that says what to do."""

from __future__ import annotations

import logging

from napari.utils.notifications import show_error, show_info, show_warning

from napari_medssl.errors import MedSSLError

logger = logging.getLogger(__name__)
_SHOWN = 3  # more notes than this are a list nobody reads; the rest is in the layer's metadata


def tell_error(error: BaseException, doing: str) -> str:
    """Show why something failed and return the sentence.

    Our own errors carry a sentence for the user. Others get one here, and their traceback goes to the log.
    """
    if isinstance(error, MedSSLError):
        text = str(error)
    else:
        logger.error("%s failed", doing, exc_info=error)
        text = unexpected(error, doing)
    show_error(text)
    return text


def unexpected(error: BaseException, doing: str) -> str:
    """A sentence for an error nobody foresaw, such as a lost graphics card."""
    reason = str(error).strip().splitlines()
    first = reason[0] if reason else ""
    advice = "try again; if it happens again, save your layers and restart napari"
    if "CUDA" in str(error) or "MPS" in str(error):
        advice = "choose the device 'cpu' under Advanced settings and try again, or restart napari"
    return f"{doing} stopped unexpectedly ({type(error).__name__}: {first}). Your layers are unchanged; {advice}."


def tell_notes(notes: tuple[str, ...]) -> None:
    """Show what had to be assumed, at most a few sentences."""
    for note in notes[:_SHOWN]:
        show_warning(note)


def tell(text: str) -> None:
    """Show a piece of information."""
    show_info(text)
