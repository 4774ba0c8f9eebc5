"""A support library: named examples of organs that can be applied to any number of scans."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_medssl.errors import SupportError
from napari_medssl.labels import Label
from napari_medssl.library.example import Example
from napari_medssl.library.stored_features import StoredFeatures

if TYPE_CHECKING:
    from napari_medssl.library.apply import Choice, Segmenter
    from napari_medssl.library.keeping import KeepSettings, KeptScan
    from napari_medssl.library.looks import Encoder
    from napari_medssl.library.ranking import SelectSettings
    from napari_medssl.oneshot.result import Segmentation
    from napari_medssl.oneshot.settings import SegmentSettings
    from napari_medssl.oneshot.support import Support
    from napari_medssl.progress import Steps
    from napari_medssl.volume import Volume


@dataclass(frozen=True, eq=False)
class Library:
    """Examples of one or more organs, each organ with its own.

    examples: in the order they were added. features: of some of the scans, by `KeptScan.sha256`; comparing with a scan
    is faster with them and needs none. file_sha256: of the file it was read from, empty for a new one; saving
    over a file that has changed since is refused, so that nobody's examples are lost.

    A library never changes: `add` and `remove` return another one.
    """

    examples: tuple[Example, ...] = ()
    features: Mapping[str, StoredFeatures] = field(default_factory=dict)
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
        return self.with_examples(add_examples(self.examples, support, facts=facts, keep=keep).examples)

    def remove(self, *names: str) -> Library:
        """The library without these examples; raises SupportError when one is not there."""
        gone = {id(self.example(name)) for name in names}
        return self.with_examples([e for e in self.examples if id(e) not in gone])

    def only(self, *organs: str) -> Library:
        """The examples of these organs, by name or value; raises SupportError when there are none of one."""
        chosen: set[int] = set()
        for wanted in organs:
            found = {o.value for o in self.organs if wanted.strip().casefold() in (o.name.casefold(), str(o.value))}
            if not found:
                names = ", ".join(o.name for o in self.organs) or "none"
                raise SupportError(f"the library has no example of {wanted!r}; its organs are: {names}")
            chosen |= found
        return self.with_examples([e for e in self.examples if e.organ.value in chosen])

    def with_examples(self, examples: Sequence[Example]) -> Library:
        """The library with these examples instead of its own, and the features of their scans."""
        scans = {e.scan.sha256 for e in examples}
        kept = {sha: f for sha, f in self.features.items() if sha in scans}
        return dataclasses.replace(self, examples=tuple(examples), features=kept)

    def features_of(self, scan: KeptScan) -> StoredFeatures | None:
        """The features kept for a scan, or None."""
        return self.features.get(scan.sha256)

    def with_features(self, engine: Encoder) -> Library:
        """`with_features_steps` run to the end."""
        from napari_medssl.progress import finish

        return finish(self.with_features_steps(engine))

    def with_features_steps(self, engine: Encoder) -> Steps[Library]:
        """The library with features under the engine's weights, instead of any it had."""
        from napari_medssl.library.looks import stored_steps

        features = {}
        for scan in self.scans:
            features[scan.sha256] = yield from stored_steps(engine, scan)
        return dataclasses.replace(self, features=features)

    def supports_for(self, engine: Encoder, volume: Volume, *, settings: SelectSettings | None = None) -> Choice:
        """`apply.supports_for_steps` run to the end: the best-matching examples for a scan, and why."""
        from napari_medssl.library.apply import supports_for_steps
        from napari_medssl.progress import finish

        return finish(supports_for_steps(self, engine, volume, settings=settings))

    def apply(
        self,
        engine: Segmenter,
        volume: Volume,
        *,
        slice_range: tuple[int, int] | None = None,
        select: SelectSettings | None = None,
        settings: SegmentSettings | None = None,
    ) -> Segmentation:
        """`apply_steps` run to the end."""
        from napari_medssl.progress import finish

        return finish(self.apply_steps(engine, volume, slice_range=slice_range, select=select, settings=settings))

    def apply_steps(
        self,
        engine: Segmenter,
        volume: Volume,
        *,
        slice_range: tuple[int, int] | None = None,
        select: SelectSettings | None = None,
        settings: SegmentSettings | None = None,
    ) -> Steps[Segmentation]:
        """Segment a scan with the examples that match it best; the report says under "library" which and why."""
        from napari_medssl.library.apply import apply_steps

        return apply_steps(self, engine, volume, slice_range=slice_range, select=select, settings=settings)
