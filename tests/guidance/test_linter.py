"""Each check of a configuration trips, and does not trip next to it."""

from __future__ import annotations

from typing import Any

import pytest

from napari_medssl.errors import SettingsError
from napari_medssl.guidance import METHODS, RULES, Facts, advise, lint

CROP_48 = {"crop_z": 48, "crop_y": 48, "crop_x": 48}
CROP_64 = {"crop_z": 64, "crop_y": 64, "crop_x": 64}

CASES: list[tuple[str, dict[str, Any], Facts, str, str]] = [
    ("mio-v3", {"temperature": 0.07}, Facts(), "R-63", "refuse"),
    ("mio-v2", {"temperature": 0.5}, Facts(), "R-64", "warn"),
    ("mio-v1", {"temperature": 0.1}, Facts(), "R-65", "warn"),
    ("mio-v3", {"temperature": 0.6}, Facts(), "R-66", "warn"),
    ("dystress", {"lowest": 0.07, "highest": 0.5}, Facts(), "R-70", "warn"),
    ("dystress-dcl", {"lowest": 0.07, "highest": 0.1}, Facts(), "R-70", "warn"),
    ("rot3d", CROP_48, Facts(), "R-43", "warn"),
    ("rot3d", CROP_64, Facts(finetune_shape=(64, 128, 128)), "R-42", "warn"),
    ("rpl", CROP_64, Facts(finetune_shape=(64, 128, 128)), "R-42", "note"),
    ("autoencoder", {"skip": True}, Facts(), "R-44", "warn"),
    ("model-genesis", {"skip": True}, Facts(), "R-44", "warn"),
    ("pcrl", {"skip": False}, Facts(), "R-45", "warn"),
    ("pcrl", {}, Facts(transferred="decoder"), "R-55", "refuse"),
    ("byol3d", {}, Facts(mode="frozen"), "R-27", "warn"),
    ("byol3d", {}, Facts(batch_norm=True, domain_gap="large"), "R-56", "warn"),
    ("byol3d", {}, Facts(batch_norm=True, statistics="kept"), "R-57", "note"),
    ("simclr", {"run": {"batch": 32}}, Facts(), "R-74", "note"),
    ("mio-v3", {"run": {"batch": 16}}, Facts(), "R-75", "note"),
    ("simclr3d", {"min_iou": 0.0}, Facts(), "R-35", "warn"),
    ("mae3d", {"ratio": 0.4}, Facts(), "R-37", "warn"),
    ("jigsaw3d", {"gap": 0, "n": 2}, Facts(), "R-29", "warn"),
    ("skid-v3", {"classes": 500}, Facts(), "R-30", "note"),
    ("jigsaw3d", {"gap": 3, "n": 4}, Facts(), "R-31", "note"),
    ("geometric", {"fill": "zeros"}, Facts(), "R-28", "warn"),
    ("geometric", {"keep": 1.0}, Facts(), "R-28", "warn"),
    ("byol3d", CROP_48, Facts(content=0.2), "R-32", "warn"),
    ("byol3d", CROP_48, Facts(smallest=(20, 200, 200)), "R-32", "note"),
    ("simclr", {"views": "thesis-4"}, Facts(small_objects=True), "R-36", "warn"),
    ("barlow-twins", {"width": 128}, Facts(), "R-76", "note"),
    ("rot3d", {"norm": "batch"}, Facts(domain_gap="large"), "R-56", "warn"),
    ("cowpro", {"episodes": {"background_weight": 1.0, "foreground_weight": 1.0}}, Facts(), "R-87", "warn"),
    ("cowpro", {"episodes": {"cyclic_threshold": 0.5, "cyclic": "plain"}}, Facts(), "R-86", "warn"),
    ("cowpro", {"episodes": {"prototypes": {"top_percent": 10.0, "window": 2}}}, Facts(), "R-83", "warn"),
]

SOUND: list[tuple[str, dict[str, Any], Facts]] = [
    ("mio-v3", {"temperature": 0.1, "run": {"batch": 128}}, Facts()),
    ("mio-v2", {"temperature": 0.1}, Facts()),
    ("mio-v1", {"temperature": 0.2}, Facts()),
    ("simclr", {"temperature": 0.05, "run": {"batch": 256}}, Facts()),
    ("dystress", {"lowest": 0.1, "highest": 0.2}, Facts()),
    ("rot3d", CROP_64, Facts(finetune_shape=(64, 64, 96), smallest=(64, 64, 64))),
    ("rot3d", CROP_64, Facts(finetune_shape=(64, 64))),
    ("rpl", CROP_48, Facts(content=0.9)),
    ("autoencoder", {"skip": False}, Facts(transferred="encoder")),
    ("pcrl", {"skip": True}, Facts(transferred="both", mode="full")),
    ("byol3d", {"min_iou": 0.25}, Facts(batch_norm=True, domain_gap="large", statistics="anew")),
    ("byol3d", {}, Facts(batch_norm=False, domain_gap="large")),
    ("mae3d", {"ratio": 0.75}, Facts()),
    ("skid-v3", {"classes": 1000}, Facts()),
    ("rpl", {"gap": 0, "jitter": 1}, Facts()),
    ("geometric", {"keep": 0.6, "fill": "mirrored"}, Facts()),
    ("simclr", {"views": "medical"}, Facts(small_objects=True)),
    ("rot3d", {"norm": "group"}, Facts(domain_gap="large")),
    ("cowpro", {"episodes": {"prototypes": {"top_percent": 10.0, "window": 4}}}, Facts()),
    ("of-a-plugin", {"temperature": 0.01, "skip": True}, Facts()),
]


@pytest.mark.parametrize(("method", "settings", "facts", "rule", "level"), CASES)
def test_each_check_trips(method: str, settings: dict[str, Any], facts: Facts, rule: str, level: str) -> None:
    found = {finding.rule: finding for finding in lint(method, settings, facts)}
    assert found[rule].level == level
    text = str(found[rule])
    assert rule in text
    assert str(RULES[rule].sources[0]) in text


@pytest.mark.parametrize(("method", "settings", "facts"), SOUND)
def test_sound_settings_pass(method: str, settings: dict[str, Any], facts: Facts) -> None:
    assert lint(method, settings, facts) == ()


def flat(settings: dict[str, Any]) -> set[str]:
    """The last parts of the names of nested settings."""
    names: set[str] = set()
    for name, value in settings.items():
        names |= flat(value) if isinstance(value, dict) else {name}
    return names


@pytest.mark.parametrize(("method", "settings"), [(case[0], case[1]) for case in CASES])
def test_judged_settings_are_the_methods_own(method: str, settings: dict[str, Any]) -> None:
    """A setting that is renamed must take its check along."""
    from napari_medssl.settings import to_dict
    from napari_medssl.train.method import find_method

    assert flat(settings) <= flat(to_dict(find_method(method).settings()))


def test_no_method_is_refused_as_it_comes() -> None:
    from napari_medssl.settings import to_dict
    from napari_medssl.train.method import all_methods

    for name, method in all_methods().items():
        assert "refuse" not in [finding.level for finding in lint(name, to_dict(method.settings()))], name


def test_nothing_known_finds_nothing() -> None:
    assert all(lint(method, {}) == () for method in METHODS)


def test_the_gravest_comes_first() -> None:
    found = lint("mio-v3", {"temperature": 0.05, "run": {"batch": 8}})
    assert [finding.level for finding in found] == ["refuse", "note"]


def test_the_outer_setting_answers() -> None:
    assert lint("mio-v3", {"temperature": 0.2, "teacher": {"temperature": 0.05}}) == ()
    assert lint("mio-v3", {"loss": {"temperature": 0.05}})[0].rule == "R-63"


def test_what_a_message_says() -> None:
    (finding,) = lint("rot3d", CROP_48)
    assert str(finding) == "an input of 48 voxels is too small to learn from turns; use 64 or more (R-43; D 418)"


def test_advice_warns_and_refuses_but_keeps_notes_to_itself() -> None:
    warnings = [f for f in lint("mio-v2", {"temperature": 0.5}) if f.level == "warn"]
    assert advise("mio-v2", {"temperature": 0.5}) == tuple(map(str, warnings)) != ()
    with pytest.raises(SettingsError, match="R-63"):
        advise("mio-v3", {"temperature": 0.07})
    assert advise("simclr", {}) == ()
