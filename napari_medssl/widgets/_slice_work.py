"""What the slice classification does away from the window: encoding, learning, scoring, explaining, files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medssl.progress import Progress, Steps
from napari_medssl.widgets._engine import EngineHandle
from napari_medssl.widgets._scan import Scan

if TYPE_CHECKING:
    from napari_medssl.classify.explain.explain import Explanation
    from napari_medssl.classify.slices.head import SliceHead
    from napari_medssl.classify.slices.marks import SliceMarks
    from napari_medssl.classify.slices.scores import SliceScores
    from napari_medssl.classify.slices.settings import LearnSettings
    from napari_medssl.classify.slices.vectors import SliceVectors
    from napari_medssl.widgets._slice_marks import Marked

_KEPT = 64  # scans whose vectors are kept: a hundred slices are 300 kB


@dataclass(frozen=True, eq=False)
class Outcome:
    """A head and what it says of the scans; notes: sentences on both. scores: key of the scan to its scores."""

    head: SliceHead
    scores: dict[str, SliceScores]
    notes: tuple[str, ...]


class VectorStore:
    """The slices of scans, pooled once; their features may leave the engine's cache meanwhile."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], SliceVectors] = {}

    def steps(self, engine: Any, scans: Mapping[str, Scan], notes: list[str]) -> Steps[dict[str, SliceVectors]]:
        """Key of the scan to its slices. notes: is added what had to be assumed of a scan."""
        from napari_medssl.classify.slices.vectors import slice_vectors_steps

        found: dict[str, SliceVectors] = {}
        for number, (key, scan) in enumerate(scans.items()):
            yield Progress(number, len(scans), "encoding scans", scan.name)
            volume = scan.volume()
            notes += [note for note in volume.notes if note not in notes]
            name = (volume.content_hash, engine.weights_hash)
            if name not in self._known:
                vectors = yield from slice_vectors_steps(engine, volume)
                while len(self._known) >= _KEPT:
                    del self._known[next(iter(self._known))]
                self._known[name] = vectors
            found[key] = self._known[name]
        return found


@dataclass(frozen=True, eq=False)
class LearnRequest:
    """Learn from the marks, then score all scans. classes, several, marked: as in the window; scans, marked: by key."""

    scans: Mapping[str, Scan]
    marked: Mapping[str, Marked]
    classes: tuple[str, ...]
    several: bool
    settings: LearnSettings

    def steps(self, handle: EngineHandle, store: VectorStore) -> Steps[Outcome]:
        """The whole work."""
        yield Progress(0, 0, "loading the model")
        from napari_medssl.classify.slices.learn import learn_slices_steps

        engine: Any = handle.get()
        notes: list[str] = []
        vectors = yield from store.steps(engine, self.scans, notes)
        head = yield from learn_slices_steps(vectors, self.marks(), self.settings)
        scores = {key: head.scores(v) for key, v in vectors.items()}
        return Outcome(head, scores, (*notes, *head.notes))

    def marks(self) -> SliceMarks:
        """The marks as the core takes them. Raises SupportError when they contradict themselves."""
        return core_marks(self.classes, self.marked, several=self.several)


def core_marks(classes: Sequence[str], marked: Mapping[str, Marked], *, several: bool) -> SliceMarks:
    """Marks of the window as marks of the core; names that are no class any more are left out."""
    from napari_medssl.classify.slices.marks import SliceMarks, several_classes

    kept = {key: {z: [n for n in names if n in classes] for z, names in m.items()} for key, m in marked.items()}
    if several:
        return several_classes(classes, kept)
    said = {key: {z: dict.fromkeys(names, True) for z, names in m.items() if names} for key, m in kept.items()}
    return SliceMarks(tuple(classes), "one", said)


def score_steps(head: SliceHead, scans: Mapping[str, Scan], handle: EngineHandle, store: VectorStore) -> Steps[Outcome]:
    """What a head says of the scans; nothing is learned."""
    yield Progress(0, 0, "loading the model")
    engine: Any = handle.get()
    notes: list[str] = []
    vectors = yield from store.steps(engine, scans, notes)
    return Outcome(head, {key: head.scores(v) for key, v in vectors.items()}, (*notes, *head.notes))


def load_steps(path: Path, scans: Mapping[str, Scan], handle: EngineHandle, store: VectorStore) -> Steps[Outcome]:
    """A head from its file and what it says of the scans. Refuses at once a head of another encoder."""
    yield Progress(0, 0, "loading the model")
    from napari_medssl.classify.head_file import load_head
    from napari_medssl.classify.slices.vectors import encoder_facts

    engine: Any = handle.get()
    return (yield from score_steps(load_head(path, encoder=encoder_facts(engine)), scans, handle, store))


def explain_steps(
    head: SliceHead, scan: Scan, name: str, slices: Sequence[int], handle: EngineHandle
) -> Steps[Explanation]:
    """Where on these slices the evidence for a class lies."""
    yield Progress(0, 0, "looking for the evidence")
    from napari_medssl.classify.explain.slice_head import explain_head_steps

    engine: Any = handle.get()
    return (yield from explain_head_steps(engine, head, scan.volume(), name, slices=slices))


def export_steps(path: Path, outcome: Outcome, names: Mapping[str, str], marks: SliceMarks) -> Steps[Path]:
    """Scores of the scans by their names as a table (.csv), or with the findings as a report (.json)."""
    yield Progress(0, 0, f"writing {path.name}")
    from dataclasses import replace

    from napari_medssl.classify.slices.results import write_scores_csv, write_scores_json

    scores = {names[key]: found for key, found in outcome.scores.items() if key in names}
    if path.suffix == ".json":
        write_scores_json(path, outcome.head, scores)
    else:
        write_scores_csv(path, scores, replace(marks, slices={names[k]: m for k, m in marks.slices.items()}))
    return path
