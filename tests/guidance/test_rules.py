"""Every rule applies where its condition is met, and not where one fact is otherwise."""

from __future__ import annotations

import re
from typing import Any

import pytest

from napari_medssl.errors import SettingsError
from napari_medssl.guidance import RULES, Question, find_rule, fired, recommend
from napari_medssl.guidance.facts import LARGE, SMALL
from napari_medssl.guidance.methods import METHODS, methods_of
from napari_medssl.guidance.question import check_question
from napari_medssl.guidance.sources import by_section, parse

Facts = dict[str, Any]
SEGMENT = {"task": "segmentation"}
CLASSIFY = {"task": "classification"}
ONE = {"task": "one-shot"}

CASES: dict[str, tuple[Facts, Facts]] = {
    "R-01": ({"labels": LARGE}, {"labels": LARGE, "label_quality": "noisy"}),
    "R-02": (
        {"labels": 900, "imbalance": 5.0, "unlabelled": 100},
        {"labels": 900, "imbalance": 5.0, "unlabelled": 20_000},
    ),
    "R-03": ({"labels": 900, "unlabelled": LARGE + 1}, {"labels": 900, "unlabelled": LARGE}),
    "R-04": ({"labels": 1000, "unlabelled": SMALL}, {"labels": 1000, "unlabelled": LARGE}),
    "R-05": ({"unlabelled": LARGE + 1}, {"unlabelled": 5000}),
    "R-06": ({"labels": 49, "unlabelled": 51}, {"labels": 50, "unlabelled": 50}),
    "R-07": ({"label_percent": 100.0}, {"label_percent": 90.0}),
    "R-08": ({"labels": 20, "compute": "enough"}, {"labels": 20, "compute": "limited"}),
    "R-09": ({"task": "reconstruction"}, SEGMENT),
    "R-10": ({"task": "anomaly", "weights": "none"}, {"task": "anomaly", "unlabelled": 5000}),
    "R-11": ({"task": "ood"}, CLASSIFY),
    "R-12": (
        {"weights": "imagenet", "dims": "2D", "labels": 300},
        {"weights": "imagenet", "dims": "3D", "labels": 300},
    ),
    "R-13": ({"unlabelled": SMALL}, {"unlabelled": SMALL, "domain_gap": "large"}),
    "R-14": ({"larger_foreign_set": "yes"}, {"larger_foreign_set": "no"}),
    "R-15": ({"same_modality": "no"}, {"same_modality": "yes"}),
    "R-16": ({"dims": "3D", "compute": "enough"}, {"dims": "3D", "compute": "limited"}),
    "R-17": (
        {"dims": "3D", "labels_for": "scans", "compute": "limited"},
        {"dims": "3D", "labels_for": "voxels", "compute": "limited"},
    ),
    "R-18": ({}, {"method": "simclr"}),
    "R-19": ({"plans": ("anatomy-pretext",)}, {}),
    "R-20": ({"annotation_budget": "binding", "unlabelled": 0}, {"annotation_budget": "binding", "unlabelled": 50_000}),
    "R-21": ({"labels": 900, "unlabelled": 20_000}, {"task": "reconstruction"}),
    "R-22": (CLASSIFY, SEGMENT),
    "R-23": (SEGMENT, CLASSIFY),
    "R-24": ({"round_target": "yes"}, {"round_target": "no"}),
    "R-25": ({"domain_gap": "large"}, {"domain_gap": "small"}),
    "R-26": ({}, CLASSIFY),
    "R-27": (SEGMENT, SEGMENT | {"weights": "foundation"}),
    "R-27b": ({"weights": "foundation"}, {"weights": "own"}),
    "R-27c": ({"weights": "imagenet"}, {"weights": "own"}),
    "R-27d": ({"labels": 20}, {"labels": 200}),
    "R-27e": ({"goal": "prototype"}, {"goal": "accuracy"}),
    "R-27f": ({"labels": LARGE}, {"labels": LARGE - 1}),
    "R-28": ({"modality": "MR", "method": "geometric"}, {"modality": "CT", "method": "geometric"}),
    "R-29": ({"method": "skid-v3"}, {"method": "rpl"}),
    "R-30": ({"method": "sslacl"}, {"method": "rubik"}),
    "R-31": ({"method": "jigsaw3d", "grid": 4}, {"method": "jigsaw3d", "grid": 3}),
    "R-32": ({"background": "much"}, {"background": "little"}),
    "R-33": ({"plans": ("pretext-accuracy",)}, {"plans": ("checkpoint-choice",)}),
    "R-34": ({"method": "model-genesis"}, {"method": "simclr3d"}),
    "R-35": ({"method": "byol3d"}, {"method": "byol"}),
    "R-36": ({"method": "simclr", "object_size": "small"}, {"method": "simclr", "object_size": "large"}),
    "R-37": ({"method": "mae3d"}, {"method": "autoencoder"}),
    "R-38": ({"modality": "X-ray", "dims": "2D"}, {"modality": "CT", "dims": "2D"}),
    "R-39": (
        {"modality": "MR", "dims": "3D", "region": "brain"},
        {"modality": "MR", "dims": "3D", "region": "knee"},
    ),
    "R-40": ({"method": "rotation"}, {"method": "simclr"}),
    "R-41": (SEGMENT | {"labels": 1}, SEGMENT | {"labels": 100}),
    "R-42": (
        {"pretrain_shape": (48, 48, 32), "finetune_shape": (96, 48, 32)},
        {"pretrain_shape": (48, 48, 32), "finetune_shape": (64, 48, 32)},
    ),
    "R-43": (
        {"method": "rot3d", "pretrain_shape": (48, 48, 48)},
        {"method": "rot3d", "pretrain_shape": (64, 64, 64)},
    ),
    "R-44": ({"method": "autoencoder"}, {"method": "pcrl"}),
    "R-45": ({"method": "pcrl"}, {"method": "model-genesis"}),
    "R-46": (CLASSIFY | {"imbalance": 5.0}, CLASSIFY | {"imbalance": 1.0}),
    "R-47": ({"imbalance": 20.0, "labels": 5000}, {"imbalance": 20.0, "labels": 50_000}),
    "R-48": ({"imbalance": 10.0}, {"imbalance": 11.0}),
    "R-49": ({"imbalance": 40.0, "resampling": "no"}, {"imbalance": 40.0, "resampling": "yes"}),
    "R-50": (
        {"resampling": "yes", "labels": 1000, "imbalance": 50.0},
        {"resampling": "yes", "labels": 1000, "imbalance": 3.0},
    ),
    "R-51": ({"augmentation": "strong"}, {"augmentation": "weak"}),
    "R-51b": ({"method": "mae2d"}, {"method": "simclr"}),
    "R-51c": ({"plans": ("mix",)}, {"augmentation": "strong"}),
    "R-51d": ({"augmentation": "weak"}, {"augmentation": "none"}),
    "R-52": ({"plans": ("comparison",)}, {"labels": 100, "unlabelled": 100}),
    "R-53": ({"weights": "imagenet"}, {"weights": "foundation", "labels": 100}),
    "R-54": ({"method": "mae3d", "plans": ("warm-up",)}, {"method": "byol3d", "plans": ("warm-up",)}),
    "R-55": ({"architecture": "U-Net"}, {"architecture": "CNN"}),
    "R-56": ({"domain_gap": "large"}, {"domain_gap": "large", "architecture": "ViT"}),
    "R-57": ({"architecture": "U-Net"}, {"architecture": "U-Net", "domain_gap": "none"}),
    "R-58": ({"plans": ("checkpoint-choice",)}, {}),
    "R-59": ({"modality": "MR", "labels_for": "scans"}, {"modality": "MR", "labels_for": "voxels"}),
    "R-60": ({"planes": 3}, {"planes": 1}),
    "R-61": ({"slices": 30}, {"slices": 16}),
    "R-62": ({"plans": ("model-size",)}, {}),
    "R-63": ({"method": "mio-v3"}, {"method": "mio-v2"}),
    "R-64": ({"method": "mio-v2"}, {"method": "mio-v1"}),
    "R-65": ({"method": "mio-v1"}, {"method": "mio-v3"}),
    "R-66": ({"method": "mio-v1", "temperature": 0.6}, {"method": "mio-v1", "temperature": 0.5}),
    "R-67": ({"plans": ("separate-features",)}, {"plans": ("grouped-features",)}),
    "R-68": ({"plans": ("grouped-features",)}, {"plans": ("separate-features",)}),
    "R-69": ({"plans": ("temperature-function",)}, {"method": "dystress"}),
    "R-70": ({"method": "dystress"}, {"method": "simclr"}),
    "R-71": ({"plans": ("temperature-profile",)}, {}),
    "R-72": ({"method": "dystress", "classes": 100}, {"method": "dystress", "classes": 10}),
    "R-73": ({"temperature": 0.07}, {"temperature": 0.2}),
    "R-74": ({"batch": 64}, {"batch": 256}),
    "R-75": ({"method": "mio-v3"}, {"method": "dcl"}),
    "R-76": ({"method": "barlow-twins"}, {"method": "vicreg"}),
    "R-77": (CLASSIFY | {"dims": "2D"}, CLASSIFY | {"dims": "3D"}),
    "R-78": ({"plans": ("epochs",)}, {}),
    "R-79": (ONE | {"organ": "left kidney"}, ONE | {"organ": "liver"}),
    "R-80": (ONE | {"organ": "spleen"}, ONE | {"organ": "right kidney"}),
    "R-81": (ONE | {"organ": "spleen"}, ONE | {"organ": "other"}),
    "R-82": (ONE | {"organ": "liver"}, ONE | {"organ": "spleen", "orientation_known": "yes"}),
    "R-83": (ONE, CLASSIFY),
    "R-84": (ONE | {"organ": "left kidney"}, ONE),
    "R-85": (ONE, SEGMENT | {"labels": 500}),
    "R-86": ({"method": "cowpro"}, {"method": "incontext"}),
    "R-87": ({"method": "cowpro"}, ONE),
    "R-88": (ONE | {"slices": 30}, ONE | {"slices": 1}),
    "R-89": ({"labels": 10}, {}),
    "R-90": ({"imbalance": 5.0}, {"imbalance": 1.0}),
    "R-91": ({"goal": "recall"}, {"goal": "accuracy"}),
    "R-92": ({"plans": ("ensemble",)}, {"planes": 3}),
    "R-93": (ONE | {"plans": ("query-labels",)}, CLASSIFY | {"plans": ("query-labels",)}),
    "R-94": ({"annotators": "yes"}, {"annotators": "no"}),
    "R-95": ({"plans": ("interval",)}, {}),
}


def ids(facts: Facts) -> set[str]:
    question = Question(**facts)
    check_question(question)
    return {rule.id for rule in fired(question)}


def test_there_is_a_case_for_every_rule_and_all_are_numbered() -> None:
    assert set(CASES) == set(RULES)
    numbers = {int(re.findall(r"\d+", rule_id)[0]) for rule_id in RULES}
    assert numbers == set(range(1, 96))
    assert len(RULES) == 103  # the 104 rows of the requirements hold R-27 twice, once as a pointer


@pytest.mark.parametrize("rule_id", CASES)
def test_rule_applies_where_its_condition_is_met(rule_id: str) -> None:
    assert rule_id in ids(CASES[rule_id][0])


@pytest.mark.parametrize("rule_id", CASES)
def test_rule_keeps_silent_elsewhere(rule_id: str) -> None:
    assert rule_id not in ids(CASES[rule_id][1])


@pytest.mark.parametrize("rule_id", CASES)
def test_no_rule_applies_unseen(rule_id: str) -> None:
    from napari_medssl.guidance.text import lines

    answer = recommend(Question(**CASES[rule_id][0]))
    assert rule_id in answer.cited
    reasons = "\n".join(lines(answer)).partition("Reasons")[2]
    assert f"  {rule_id} (" in reasons


def test_nothing_but_the_defaults_applies_without_facts() -> None:
    assert ids({}) == {"R-18", "R-26"}


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.id)
def test_rule_is_whole(rule: Any) -> None:
    assert rule.condition
    assert rule.advice.endswith(".")
    assert rule.sources
    assert all(source.document == "R" or source.section for source in rule.sources)
    assert all(other in RULES for other in rule.against)
    if rule.aspect == "pretext":
        assert all(methods_of(token) for token in (*rule.prefers, *rule.avoids))
        assert not set.intersection(
            set().union(*map(methods_of, rule.prefers)), set().union(*map(methods_of, rule.avoids))
        )


def test_sources_are_read_and_placed() -> None:
    one, two, three = parse("T 1550-1552; D 346 198")
    assert (one.document, one.first, one.last) == ("T", 1550, 1552)
    assert one.section.startswith("3.5.3.3 External Validation")
    assert two.section == "5.2. Normalization Layer"
    assert by_section((two, two, three))[0] == "D, 5.2. Normalization Layer (lines 346, 346)"
    with pytest.raises(ValueError, match="names no document"):
        parse("X 12")
    with pytest.raises(ValueError, match="no line"):
        parse("T 12a")


def test_a_rule_is_found_however_it_is_written() -> None:
    assert find_rule("r-27D") is find_rule("27d") is RULES["R-27d"]
    assert find_rule("5") is RULES["R-05"]
    with pytest.raises(SettingsError, match="no rule is called 'R-99'.*R-01 to R-95"):
        find_rule("R-99")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"method": "simcrl"}, "no method is called 'simcrl'; did you mean 'simclr'"),
        ({"plans": ("tea",)}, "no plan is called 'tea'"),
        ({"labels": -2}, "labels is -2; it must be at least -1"),
        ({"task": "walk"}, "task is 'walk'; choose one of"),
        ({"pretrain_shape": (0, 4, 4)}, "every edge must be at least 1"),
        ({"pretrain_shape": (4, 4), "finetune_shape": (4, 4, 4)}, "differ in dimensions"),
    ],
)
def test_a_wrong_fact_is_a_sentence(facts: Facts, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        recommend(Question(**facts))


def test_words_of_rules_stand_for_methods() -> None:
    assert methods_of("mae") == {"mae2d", "mae3d"}
    assert methods_of("=dcl") == {"dcl"}
    assert methods_of("2D") | methods_of("3D") == set(METHODS)
    with pytest.raises(KeyError, match="chocolate"):
        methods_of("chocolate")
