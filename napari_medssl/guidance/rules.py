"""All rules in one table."""

from __future__ import annotations

import difflib

from napari_medssl.errors import SettingsError
from napari_medssl.guidance.contrastive import CONTRASTIVE_RULES
from napari_medssl.guidance.evaluation import EVALUATION_RULES
from napari_medssl.guidance.imbalance import IMBALANCE_RULES
from napari_medssl.guidance.oneshot import ONE_SHOT_RULES
from napari_medssl.guidance.paradigm import PARADIGM_RULES
from napari_medssl.guidance.pretext import PRETEXT_RULES
from napari_medssl.guidance.question import Question
from napari_medssl.guidance.rule import Rule
from napari_medssl.guidance.transfer import TRANSFER_RULES

_GIVEN = (
    *PARADIGM_RULES,
    *PRETEXT_RULES,
    *IMBALANCE_RULES,
    *TRANSFER_RULES,
    *CONTRASTIVE_RULES,
    *ONE_SHOT_RULES,
    *EVALUATION_RULES,
)


def _nothing_decides(question: Question) -> bool:
    speaks = (rule for rule in _GIVEN if rule.aspect == "pretext" and set(rule.prefers) - {"2D", "3D"})
    return not question.method and not any(rule.when(question) for rule in speaks)


# It stands here because it asks all the others.
_DEFAULT = Rule(
    "R-26",
    "pretext",
    "no stated fact decides on a method",
    "SimCLR, BYOL or relative patch location: good on every target of D.",
    "medium",
    "D 409 514",
    when=_nothing_decides,
    prefers=("simclr", "byol", "rpl"),
    against=("R-18",),
)

RULES: dict[str, Rule] = {
    rule.id: rule
    for rule in (
        *PARADIGM_RULES,
        *PRETEXT_RULES,
        _DEFAULT,
        *IMBALANCE_RULES,
        *TRANSFER_RULES,
        *CONTRASTIVE_RULES,
        *ONE_SHOT_RULES,
        *EVALUATION_RULES,
    )
}
"""Id to rule."""


def find_rule(name: str) -> Rule:
    """The rule of this id, written in any case and with or without "R-"; raises SettingsError when there is none."""
    wanted = name.strip().upper().removeprefix("R-").lower()
    known = {rule_id.removeprefix("R-").lower(): rule for rule_id, rule in RULES.items()}
    found = known.get(wanted) or known.get(f"0{wanted}")
    if found is None:
        close = difflib.get_close_matches(wanted, known, n=1, cutoff=0.0)
        raise SettingsError(
            f"no rule is called {name!r}; did you mean {known[close[0]].id}? They run from R-01 to R-95"
        )
    return found


def fired(question: Question) -> tuple[Rule, ...]:
    """Every rule whose condition the stated facts meet, in the order of the table."""
    return tuple(rule for rule in RULES.values() if rule.when(question))
