"""The five decision charts of the guide G as they are printed, to be walked with answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from napari_medssl.errors import SettingsError
from napari_medssl.guidance.facts import LARGE, imbalanced, labels_known
from napari_medssl.guidance.question import Question
from napari_medssl.guidance.sources import Source, parse

SUPERVISED, SELF, HYBRID = "supervised", "self-supervised", "hybrid"
ACTIVE = "self-supervised or active learning"
OPEN = "supervised or hybrid"


@dataclass(frozen=True)
class Ask:
    """A diamond of a chart: its question and where yes and no lead ("" where the chart draws no edge).

    answer: yes, no or None (not stated) from the facts of a question.
    """

    text: str
    yes: str
    no: str
    answer: Callable[[Question], bool | None] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Leaf:
    """An end of a chart: the paradigm, and the words printed there."""

    paradigm: str
    text: str


@dataclass(frozen=True)
class Chart:
    """A chart by its number (1 to 5, in the guide's order), its first node and its nodes; notes: what is odd in it."""

    number: int
    title: str
    where: str
    first: str
    nodes: Mapping[str, Ask | Leaf]
    note: str = ""

    @property
    def source(self) -> Source:
        """Where it is printed."""
        return parse(self.where)[0]


@dataclass(frozen=True)
class Walk:
    """A way through a chart: the answers given, and the end reached or the question still open.

    node: the name of the open question; empty at an end, or where the chart draws no further edge.
    """

    chart: Chart
    path: tuple[tuple[str, bool], ...]
    node: str
    leaf: Leaf | None

    @property
    def paradigm(self) -> str:
        """The chart's answer; "" when it is open or has none."""
        return self.leaf.paradigm if self.leaf else ""


def _pool(q: Question) -> bool | None:
    return None if q.unlabelled < 0 else q.unlabelled > LARGE


def _many_good(q: Question) -> bool | None:
    if q.label_quality == "noisy":
        return False
    return q.labels >= LARGE if labels_known(q) else None


def _small_or_uneven(q: Question) -> bool | None:
    if imbalanced(q):
        return True
    return q.labels < LARGE if labels_known(q) else None


def _small_and_uneven(q: Question) -> bool | None:
    if labels_known(q) and q.labels >= LARGE:
        return False
    if q.imbalance == 0:
        return None
    return imbalanced(q) and (True if labels_known(q) else None)


def _small_with_labels(q: Question) -> bool | None:
    return None if not labels_known(q) else q.labels < LARGE and q.label_quality != "noisy"


def _best_wanted(q: Question) -> bool | None:
    return None if q.goal == "unknown" else q.goal != "prototype"


def _budget(q: Question) -> bool | None:
    return None if q.annotation_budget == "unknown" else q.annotation_budget == "binding"


def _classifies_few(q: Question) -> bool | None:
    if q.task != "unknown" and q.task != "classification":
        return False
    return None if q.task == "unknown" or not labels_known(q) else q.labels < LARGE


def _restores(q: Question) -> bool | None:
    return None if q.task == "unknown" else q.task == "reconstruction"


CHARTS: tuple[Chart, ...] = (
    Chart(
        1,
        "Labels, pool, budget",
        "G 98",
        "labels",
        {
            "labels": Ask("Do you have a large, well-labelled dataset?", "SL", "pool", _many_good),
            "pool": Ask("Do you have a large pool of unlabelled data?", "best", "budget", _pool),
            "best": Ask("Is near-state-of-the-art performance critical?", "hybrid", "SSL", _best_wanted),
            "budget": Ask("Is annotation budget a primary constraint?", "SSL", "active", _budget),
            "SL": Leaf(SUPERVISED, "Supervised learning"),
            "SSL": Leaf(SELF, "Self-supervised learning"),
            "hybrid": Leaf(HYBRID, "Hybrid strategy: self-supervised pretraining, then fine-tuning"),
            "active": Leaf(ACTIVE, "Consider self-supervised or active learning"),
        },
        "Its leaf after a binding budget sends to self-supervision without any pool to learn from.",
    ),
    Chart(
        2,
        "Quality and quantity of labels",
        "G 217",
        "labels",
        {
            "labels": Ask("Are there ample labels of high quality?", "SL", "SSL", _many_good),
            "SL": Leaf(SUPERVISED, "Supervised learning: higher precision and performance"),
            "SSL": Leaf(SELF, "Self-supervised learning: reduced label dependency"),
        },
        "Size of the set, balance of classes and clinical task are named beside it, without an edge.",
    ),
    Chart(
        3,
        "Pool first",
        "G 1171",
        "pool",
        {
            "pool": Ask("Is a large volume of unlabelled data available for pretraining?", "SSL", "labels", _pool),
            "labels": Ask("Is a large, expert-labelled dataset available for the task?", "SL", "small", _many_good),
            "small": Ask("Is the target training set small or imbalanced?", "small SL", "late SSL", _small_or_uneven),
            "SSL": Leaf(SELF, "Self-supervised learning: general features from unlabelled data"),
            "SL": Leaf(SUPERVISED, "Supervised learning: the most straightforward path"),
            "small SL": Leaf(SUPERVISED, "Supervised learning: ahead on very small sets"),
            "late SSL": Leaf(SELF, "Self-supervised learning: more data-efficient after pretraining"),
        },
        "Its last leaf advises self-supervision although the first answer was that there is no pool.",
    ),
    Chart(
        4,
        "Large or small set",
        "G 1276",
        "pool",
        {
            "pool": Ask("Is a large unlabelled dataset available?", "SSL", "labels", _pool),
            "labels": Ask("Is it a small dataset with sufficient labels?", "SL", "", _small_with_labels),
            "SSL": Leaf(SELF, "Masked image modelling, then fine-tuning on labelled data"),
            "SL": Leaf(SUPERVISED, "Direct supervised training"),
        },
        "A large labelled set without a pool has no edge.",
    ),
    Chart(
        5,
        "Small and imbalanced first",
        "G 1731",
        "small",
        {
            "small": Ask("Is the labelled training set small and imbalanced?", "SL", "pool", _small_and_uneven),
            "pool": Ask("Is there a large volume of domain-specific unlabelled data?", "SSL", "few", _pool),
            "few": Ask("Is the task classification with limited annotations?", "SSL few", "restore", _classifies_few),
            "restore": Ask("Is the task image reconstruction or enhancement?", "SSL zero", "open", _restores),
            "SL": Leaf(SUPERVISED, "Supervised learning"),
            "SSL": Leaf(SELF, "Self-supervised learning"),
            "SSL few": Leaf(SELF, "Self-supervised learning"),
            "SSL zero": Leaf(SELF, "Self-supervised learning, such as zero-shot"),
            "open": Leaf(OPEN, "Supervised learning, or explore hybrid models"),
        },
        "It asks for small and imbalanced labels before the pool, so it can send to supervised what charts 3 and 4 "
        "send to self-supervised (B1-13).",
    ),
)


def find_chart(number: int) -> Chart:
    """The chart of this number; raises SettingsError when there is none."""
    for chart in CHARTS:
        if chart.number == number:
            return chart
    raise SettingsError(f"there is no chart {number}; they are numbered 1 to {len(CHARTS)}")


def walk(chart: Chart, answers: Mapping[str, bool]) -> Walk:
    """Go as far as the answers (name of a node to yes or no) lead."""
    path: list[tuple[str, bool]] = []
    name = chart.first
    while True:
        node = chart.nodes[name]
        if isinstance(node, Leaf):
            return Walk(chart, tuple(path), "", node)
        if name not in answers:
            return Walk(chart, tuple(path), name, None)
        path.append((name, answers[name]))
        name = node.yes if answers[name] else node.no
        if not name:
            return Walk(chart, tuple(path), "", None)


def answers_of(chart: Chart, question: Question) -> dict[str, bool]:
    """What the stated facts answer of a chart's questions.

    "Large" is from 10,000 on, as the guide's own table has it (G 1217); the charts give no number.
    """
    given = {name: node.answer(question) for name, node in chart.nodes.items() if isinstance(node, Ask)}
    return {name: answer for name, answer in given.items() if answer is not None}


def walk_all(question: Question) -> tuple[Walk, ...]:
    """Every chart as far as the facts lead."""
    return tuple(walk(chart, answers_of(chart, question)) for chart in CHARTS)


def disagree(walks: tuple[Walk, ...]) -> bool:
    """Whether charts that came to an answer came to different ones."""
    return len({w.paradigm for w in walks if w.paradigm}) > 1
