"""The shortlist, its order, its reasons, and what pulls the other way."""

from __future__ import annotations

import json

import pytest

from napari_medssl.guidance import CONFLICTS, METHODS, NOTICE, RULES, Question, as_dict, recommend
from napari_medssl.guidance.conflicts import touching
from napari_medssl.guidance.methods import SCRATCH, TABLE_3
from napari_medssl.guidance.paradigm import BOTH, SELF, SUPERVISED
from napari_medssl.guidance.text import conflict_lines, lines

GAP = Question(
    task="classification", modality="CT", dims="3D", labels=800, unlabelled=20_000, imbalance=30.0, domain_gap="large"
)


def test_scores_are_the_weights_of_the_cited_rules() -> None:
    for candidate in recommend(GAP).shortlist:
        pro, contra = (sum(RULES[r].weight for r in ids) for ids in (candidate.pro, candidate.contra))
        assert candidate.score == pro - contra
        assert candidate.pro


def test_methods_are_ranked_by_score_then_by_table_3() -> None:
    answer = recommend(GAP)
    assert [c.method.name for c in answer.shortlist[:5]] == ["byol3d", "rubik", "simclr3d", "rpl", "rubik-plus"]
    scores = [c.score for c in answer.shortlist]
    assert scores == sorted(scores, reverse=True)
    assert answer.shortlist[0].score == RULES["R-22"].weight + RULES["R-25"].weight
    assert answer.shortlist[0].measured.startswith("nodule classification, AUC 99.52, from scratch 98.53")


def test_dimensions_are_kept() -> None:
    assert {c.method.dims for c in recommend(Question(task="classification", dims="2D")).shortlist} == {2}
    assert {c.method.dims for c in recommend(GAP).shortlist} == {3}
    slices = recommend(Question(task="classification", dims="3D", labels_for="scans", compute="limited"))
    assert slices.shortlist[0].method.dims == 2
    assert "R-17" in slices.shortlist[0].pro


def test_generative_methods_are_no_choice_for_classification() -> None:
    names = {c.method.family for c in recommend(Question(task="classification", dims="3D")).shortlist}
    assert "generative" not in names
    assert "predictive" in names


def test_round_targets_speak_against_rotation() -> None:
    answer = recommend(Question(task="classification", dims="3D", round_target="yes"))
    by_name = {c.method.name: c for c in answer.shortlist}
    assert by_name["rot3d"].contra == ("R-24",)
    assert by_name["rot3d"].score < by_name["rpl"].score


def test_small_batches_bring_dcl_before_simclr() -> None:
    names = [c.method.name for c in recommend(Question(task="classification", dims="2D", batch=64)).shortlist]
    assert names.index("dcl") < names.index("simclr")
    assert recommend(Question(batch=64, method="dcl")).shortlist[0].command.endswith("--set run.batch=64")


def test_a_method_in_mind_is_judged_and_compared() -> None:
    answer = recommend(Question(task="classification", dims="3D", method="autoencoder"))
    by_name = {c.method.name: c for c in answer.shortlist}
    assert by_name["autoencoder"].contra == ("R-22",)
    assert answer.shortlist[-1].method.name == "autoencoder"
    assert "R-44" in {rule.id for rule in answer.rules}


def test_variants_stand_under_one_kind() -> None:
    answer = recommend(Question(task="classification", dims="2D", batch=64))
    mio = next(c for c in answer.shortlist if c.method.kind == "mio")
    assert (mio.method.name, mio.variants) == ("mio-v3", ("mio-v2", "mio-v1"))


def test_rules_about_a_method_are_told_with_it() -> None:
    answer = recommend(Question(task="segmentation", dims="3D"))
    by_name = {c.method.name: c for c in answer.shortlist}
    assert by_name["autoencoder"].if_chosen == ("R-44",)
    assert "R-34" in by_name["jigsaw3d"].contra


def test_one_shot_asks_for_episodes() -> None:
    answer = recommend(Question(task="one-shot", organ="right kidney", dims="3D"))
    assert answer.shortlist[0].method.name == "cowpro"
    prototypes = {c.name: c.score for c in answer.choices["prototypes"]}
    assert prototypes["dynamic threshold"] > 0 > prototypes["one global prototype"]


@pytest.mark.parametrize(
    ("facts", "step", "answer"),
    [
        ({"labels": 50_000, "unlabelled": 50_000}, 1, SELF),
        ({"labels": 15_000, "unlabelled": 0}, 2, SUPERVISED),
        ({"labels": 500, "unlabelled": 100, "imbalance": 9.0, "label_percent": 20.0}, 3, SUPERVISED),
        ({"labels": 3000, "unlabelled": 4000}, 4, BOTH),
    ],
)
def test_the_paradigm_is_decided_in_the_order_of_r21(facts: dict[str, float], step: int, answer: str) -> None:
    given = recommend(Question(**facts))  # type: ignore[arg-type]
    assert given.decision is not None
    assert (given.decision.step, given.decision.answer) == (step, answer)
    assert given.choices["paradigm"][0].name == answer
    assert given.choices["paradigm"][0].pro[0] == "R-21"


def test_missing_facts_are_named() -> None:
    assert recommend(Question()).missing == ("task", "dims", "labels", "unlabelled", "imbalance", "domain_gap")
    assert recommend(GAP).missing == ()


def test_full_fine_tuning_against_a_probe_is_shown() -> None:
    answer = recommend(Question(task="segmentation", modality="MR", labels=20))
    clash = next(c for c in answer.clashes if c.first.id == "R-27")
    assert (clash.second.id, clash.followed, clash.why) == ("R-27d", "R-27", "strong against weak")
    assert 2 in [conflict.number for conflict in answer.conflicts]
    text = "\n".join(lines(answer))
    assert "R-27 against R-27d (followed: R-27, strong against weak)" in text
    best, worst = answer.choices["fine-tuning"][0], answer.choices["fine-tuning"][-1]
    assert best.name.startswith("full")
    assert worst.name == "frozen encoder"


def test_equal_rules_are_not_settled() -> None:
    answer = recommend(Question(labels=100, unlabelled=5000, imbalance=3.0, larger_foreign_set="yes"))
    clash = next(c for c in answer.clashes if {c.first.id, c.second.id} == {"R-13", "R-14"})
    assert clash.followed == "R-14"  # medium against weak
    tie = recommend(Question(task="ood", plans=("anatomy-pretext",), labels=LABELS_ENOUGH, unlabelled=20_000))
    pair = next(c for c in tie.clashes if {c.first.id, c.second.id} == {"R-01", "R-05"})
    assert pair.followed == "R-05"
    assert pair.why == "step 1 of R-21's order"


LABELS_ENOUGH = 12_000


def test_there_are_eight_conflicts_each_with_two_sides() -> None:
    assert [c.number for c in CONFLICTS] == list(range(1, 9))
    for conflict in CONFLICTS:
        assert len(conflict.sides) >= 2
        assert all(side.sources for side in conflict.sides)
        assert set(conflict.rules) <= set(RULES)
        text = "\n".join(conflict_lines(conflict))
        assert conflict.resolution in text
        assert all(side.claim in text for side in conflict.sides)
    assert [c.number for c in touching(["R-30"])] == [7]


def test_opposites_name_each_other() -> None:
    pairs = {(rule.id, other) for rule in RULES.values() for other in rule.against}
    assert pairs == {(second, first) for first, second in pairs}


def test_numbers_quoted_are_those_of_table_3() -> None:
    """Scratch and the methods that R-22, R-24 and R-25 rest on; a wrong cell would turn a rule round."""
    assert TABLE_3["autoencoder"][0] < TABLE_3["genesis"][0] < SCRATCH[0] < TABLE_3["byol"][0]
    assert TABLE_3["rotation"][1] < SCRATCH[1] < TABLE_3["rubik"][1] < TABLE_3["jigsaw"][1]
    assert TABLE_3["rubik-plus"][2] == max(values[2] for values in TABLE_3.values())
    assert set(TABLE_3) <= {entry.kind for entry in METHODS.values()}


def test_json_holds_every_cited_rule_with_its_sources() -> None:
    facts = json.loads(json.dumps(as_dict(recommend(GAP))))
    assert facts["notice"] == NOTICE
    assert facts["question"]["labels"] == 800
    assert "modality" in facts["question"]
    assert "batch" not in facts["question"]
    assert facts["shortlist"][0]["method"] == "byol3d"
    cited = {r for c in facts["shortlist"] for key in ("pro", "contra", "if_chosen") for r in c[key]}
    assert cited | set(facts["applies"]) == set(facts["rules"])
    assert facts["rules"]["R-25"]["sources"] == ["D 383", "D 407"]
    assert facts["charts_disagree"] is True


def test_words_end_with_the_notice() -> None:
    for question in (Question(), GAP):
        assert list(lines(recommend(question)))[-1] == NOTICE


def test_long_lists_are_cut_unless_asked_for() -> None:
    answer = recommend(Question(task="classification", dims="2D"))
    short, full = ("\n".join(lines(answer, full=full)) for full in (False, True))
    assert "  then: " in short
    assert "  then: " not in full
    assert f"  {len(answer.shortlist)}. " in full
