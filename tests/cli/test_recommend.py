"""`medssl recommend` answers in words and in JSON, and explains itself."""

import json

import pytest

from napari_medssl.cli import main


def said(capsys, *arguments):
    assert main(["recommend", *arguments]) == 0
    return capsys.readouterr().out


def test_an_answer_has_reasons_sources_and_a_command(capsys):
    out = said(
        capsys, "--task", "segmentation", "--modality", "mr", "--dims", "3d", "--labels", "20", "--unlabelled", "500"
    )
    assert "1. rubik-plus (Rubik's cube+; predictive, 3D)  [R-23 weak]" in out
    assert "medssl pretrain rubik-plus DATA --out run-rubik-plus" in out
    assert "R-27 against R-27d (followed: R-27, strong against weak)" in out
    assert "R-06 (strong; less than half of the images has labels)" in out
    assert "[D 214, D 526, G 611, G 1671, G 1615]" in out
    assert "For research only, not for diagnosis." in out
    assert "imbalance: resampling" in out


def test_json_on_standard_output_and_in_a_file(capsys, tmp_path):
    facts = json.loads(said(capsys, "--task", "classification", "--batch", "64", "--json", "-"))
    assert facts["question"] == {"task": "classification", "batch": 64}
    assert facts["shortlist"][0]["method"] == "dcl"
    path = tmp_path / "answer.json"
    assert said(capsys, "--task", "classification", "--batch", "64", "--json", str(path)) == f"written: {path}\n"
    assert json.loads(path.read_text(encoding="utf-8")) == facts
    assert main(["recommend", "--json", str(path)]) == 1
    assert "--force" in capsys.readouterr().err
    assert json.loads(path.read_text(encoding="utf-8")) == facts


def test_a_rule_is_explained_for_the_facts(capsys):
    out = said(capsys, "--why", "27d", "--why", "R-05", "--labels", "20")
    assert "R-27d · fine-tuning" in out
    assert "G, The Impact of Model Pre-Training Paradigm (line 729)" in out
    assert "applies to the stated facts" in out
    assert "does not apply to the stated facts" in out
    assert "8. Who was ahead on 33,484 OCT images?" in out
    assert "Pretraining methods" not in out


def test_conflicts_are_shown_whole(capsys):
    out = said(capsys, "--conflicts", "--task", "segmentation", "--labels", "20")
    assert out.count("Our reading:") == 8
    assert "R-27 against R-27d" in out
    assert "Concerns the stated facts." in out


def test_a_chart_is_walked_with_facts_and_answers(capsys):
    out = said(capsys, "--flowchart", "1", "--labels", "20")
    assert "To go on: --answer pool=yes, or =no" in out
    out = said(capsys, "--flowchart", "1", "--labels", "20", "--answer", "pool=yes", "--answer", "best=no")
    assert "Answer for these facts: self-supervised" in out
    out = said(capsys, "--flowchart", "5", "--labels", "800", "--imbalance", "20", "--unlabelled", "50000")
    assert "They disagree." in out


def test_lists_and_prices(capsys):
    assert said(capsys, "--rules").count("\n") == 103
    systems = said(capsys, "--systems").splitlines()
    assert len(systems) == 2 + 121
    assert any(row.startswith("episodes") and "cowpro" in row for row in systems)
    assert "252.00 to 1,500.00 US dollars" in said(capsys, "--cost", "segmentation=100")


def test_plans_and_shapes_are_facts(capsys):
    out = said(capsys, "--plan", "ensemble", "--plan", "interval", "--pretrain-shape", "48,48,48",
               "--finetune-shape", "96,96,96", "--method", "rot3d")  # fmt: skip
    assert all(f"  {rule} (" in out for rule in ("R-92", "R-95", "R-42", "R-43"))


def test_the_whole_list_is_printed_when_asked_for(capsys):
    arguments = ("--task", "classification", "--dims", "2D")
    assert "  then: " in said(capsys, *arguments)
    assert "  then: " not in said(capsys, *arguments, "--all")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "simcrl"], "did you mean 'simclr'?"),
        (["--plan", "tea"], "no plan is called 'tea'"),
        (["--labels", "many"], "labels cannot be 'many'"),
        (["--why", "R-99"], "no rule is called 'R-99'"),
        (["--flowchart", "9"], "there is no chart 9"),
        (["--flowchart", "1", "--answer", "pole=yes"], "did you mean 'pool'?"),
        (["--flowchart", "1", "--answer", "pool=perhaps"], "write pool=yes or pool=no"),
        (["--cost", "segmentation"], "write KIND=N"),
        (["--pretrain-shape", "4,x,4"], "pretrain_shape cannot be '4,x,4'"),
    ],
)
def test_mistakes_are_one_sentence(arguments, words, capsys):
    assert main(["recommend", *arguments]) == 1
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_a_word_that_is_no_choice_is_wrong_usage(capsys):
    assert main(["recommend", "--task", "walk"]) == 2
    assert "invalid choice" in capsys.readouterr().err
