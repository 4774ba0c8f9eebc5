"""The one place that prints: results to standard output, everything else to standard error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from napari_medssl.progress import Progress, Steps

T = TypeVar("T")


class Console:
    """What a command says.

    quiet: no progress and no remarks; results and problems are still printed.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bar_shown = False

    def say(self, text: str = "") -> None:
        """A line of the result."""
        sys.stdout.write(f"{text}\n")

    def remark(self, text: str) -> None:
        """Something worth knowing that is no result, such as what had to be assumed."""
        if self.quiet:
            return
        if self._bar_shown:
            from tqdm import tqdm

            tqdm.write(f"note: {text}", file=sys.stderr)  # above the bar, not into it
        else:
            sys.stderr.write(f"note: {text}\n")

    def problem(self, text: str) -> None:
        """Why the command stopped, in one line."""
        sys.stderr.write(f"medssl: {' '.join(text.split())}\n")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
        """Columns as wide as their content; the first `left` ones flush left, the numbers after them flush right."""
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
        for row in (head, tuple("-" * w for w in widths), *rows):
            cells = [f"{c:<{w}}" if i < left else f"{c:>{w}}" for i, (c, w) in enumerate(zip(row, widths, strict=True))]
            self.say("  ".join(cells).rstrip())

    def follow(self, steps: Steps[T]) -> T:
        """Run long work to its end, with a progress bar when standard error is a terminal.

        Ctrl-C closes the work, which frees what it holds, before it goes on to end the command.
        """
        from napari_medssl.progress import finish

        self._bar_shown = not self.quiet and sys.stderr.isatty()
        with _Bar(show=self._bar_shown) as bar:
            try:
                return finish(steps, bar.update)
            except KeyboardInterrupt:
                steps.close()
                raise
            finally:
                self._bar_shown = False


class _Bar:
    """One tqdm bar per label of the work."""

    def __init__(self, *, show: bool) -> None:
        self._show = show
        self._bar: Any = None
        self._label = ""

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, progress: Progress) -> None:
        if not self._show:
            return
        if self._bar is None or progress.label != self._label:
            from tqdm import tqdm  # only for those who look at it

            self.__exit__()
            self._bar = tqdm(total=progress.total or None, desc=progress.label, leave=False, file=sys.stderr)
            self._label = progress.label
        self._bar.total = progress.total or None
        if progress.note:
            self._bar.set_postfix_str(progress.note, refresh=False)
        self._bar.update(progress.done - self._bar.n)
