"""A support library: named examples of organs that can be applied to any number of scans."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_medssl.errors import SupportError
from napari_medssl.labels import Label
from napari_medssl.library.example import Example

if TYPE_CHECKING:
    from napari_medssl.library.keeping import KeepSettings, KeptScan
    from napari_medssl.oneshot.support import Support


@dataclass(frozen=True, eq=False)
class Library:
    """Examples of one or more organs, each organ with its own.

    examples: in the order they were added. file_sha256: of the file it was read from, empty for a new one; saving
    over a file that has changed since is refused, so that nobody's examples are lost.

    A library never changes: `add` and `remove` return another one.
    """

    examples: tuple[Example, ...] = ()
    file_sha256: str = ""

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Library:
        """Read a .medssl file; raises FormatError when it is damaged, no library, or of a newer program."""
        from napari_medssl.library.file import load_library

        return load_library(Path(path).expanduser())

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Library:
        """Write a .medssl file, whole or not at all, and return the library as read from it.

        Raises FormatError when another library is there, or the one this was read from has changed meanwhile, unless
        `overwrite`; and when the disk refuses.
        """
        from napari_medssl.library.file import save_library

        return save_library(Path(path).expanduser(), self, overwrite=overwrite)

    @property
    def organs(self) -> tuple[Label, ...]:
        """Every organ there is an example of, by value."""
        found = {e.organ.value: e.organ for e in self.examples}
        return tuple(found[v] for v in sorted(found))

    @property
    def scans(self) -> tuple[KeptScan, ...]:
        """Every scan there is an example on, once."""
        return tuple({id(e.scan): e.scan for e in self.examples}.values())

    @property
    def sha256(self) -> str:
        """Hash of what the examples are, whatever they are called and however much of their scans is kept."""
        return hashlib.sha256("".join(sorted(e.sha256 for e in self.examples)).encode()).hexdigest()

    def example(self, name: str) -> Example:
        """The example of that name, in upper or lower case; raises SupportError when there is none."""
        for example in self.examples:
            if example.name.casefold() == name.strip().casefold():
                return example
        names = [e.name for e in self.examples]
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(names) or 'none'}"
        raise SupportError(f"the library has no example called {name!r}; {hint}")

    def add(
        self,
        support: Support,
        *,
        name: str = "",
        note: str = "",
        licence: str = "",
        scanner: str = "",
        keep: KeepSettings | None = None,
    ) -> Library:
        """The library with an example for each organ of `support`; `add_examples` says how organs and names are met."""
        from napari_medssl.library.adding import Facts, add_examples  # brings torch, which listing needs not

        facts = Facts(name, note, licence, scanner)
        return dataclasses.replace(self, examples=add_examples(self.examples, support, facts=facts, keep=keep).examples)

    def remove(self, *names: str) -> Library:
        """The library without these examples; raises SupportError when one is not there."""
        gone = {id(self.example(name)) for name in names}
        return dataclasses.replace(self, examples=tuple(e for e in self.examples if id(e) not in gone))
