"""The page on the command line names the commands and arguments there are."""

import re
import shlex
from pathlib import Path

import pytest

from napari_medssl.cli import COMMANDS, main

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
LINES = [
    line
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]


def test_every_command_has_a_row():
    first_table = PAGE[: PAGE.index("## ")]
    assert re.findall(r"^\| `(\w+)` \|", first_table, re.MULTILINE) == list(COMMANDS)


@pytest.mark.parametrize("line", LINES)
def test_examples_use_arguments_that_exist(line, capsys):
    program, command, *arguments = shlex.split(line)
    assert program == "medssl"
    assert main([command, "--help"]) == 0
    known = capsys.readouterr().out
    assert [a for a in arguments if a.startswith("--") and a not in known] == []


def test_arguments_named_in_the_text_exist(capsys):
    known = ""
    for command in COMMANDS:
        assert main([command, "--help"]) == 0
        known += capsys.readouterr().out
    assert [a for a in set(re.findall(r"--[a-z][a-z-]+", PAGE)) if a not in known] == []
