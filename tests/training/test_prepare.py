"""The text that shakespeare-nano is trained on: works apart, speakers alike, nothing else changed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "plugins/zoo-gpt/recipes/shakespeare-nano/prepare.py"


@pytest.fixture(scope="module")
def prepare():
    spec = importlib.util.spec_from_file_location("prepare_shakespeare", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("heading", "becomes"),
    [
        ("LAFEU.", "LAFEU:"),
        ("LYSANDER", "LYSANDER:"),
        ("BEROWNE. ", "BEROWNE:"),
        ("SIR  TOBY.", "SIR TOBY:"),
        ("MRS. PAGE.", "MRS. PAGE:"),
        ("BOTH VARRO'S SERVANTS.", "BOTH VARRO'S SERVANTS:"),
        ("Hor.", "Hor."),
        ("ACT I.", "ACT I."),
        ("SCENE II. A street.", "SCENE II. A street."),
        ("[Exeunt.]", "[Exeunt.]"),
        ("VII.", "VII."),
    ],
)
def test_a_heading_becomes_a_speaker_if_it_is_one(prepare, heading, becomes):
    assert prepare.normalised(f"Before.\n\n{heading}\nAfter.\n") == f"Before.\n\n{becomes}\nAfter.\n"


def test_a_heading_in_mixed_case_is_a_speaker_when_it_comes_often(prepare):
    text = "\n\n".join(["Title", *["Rom.\nAh me."] * 3, *["Speak.\nHe said."] * 2])
    assert prepare.normalised(text) == text.replace("Rom.", "ROM:") + "\n"


def test_a_heading_with_nothing_said_below_it_stays(prepare):
    assert prepare.normalised("A.\n\nKING.\n\nB.\n") == "A.\n\nKING.\n\nB.\n"


def test_blanks_are_tidied_and_indents_kept(prepare):
    assert prepare.normalised("\n\nOne. \t\r\n\n\n\n\n\n  Two.\n\n") == "One.\n\n\n  Two.\n"


def test_each_work_becomes_a_file_named_by_its_title(prepare, tmp_path, monkeypatch, capsys):
    source = tmp_path / "all.txt"
    source.write_text(
        "LOVE'S LABOUR'S LOST\n\nby William Shakespeare\n\n\nKING.\nLet fame.\n\n"
        "THE SONNETS\nby William Shakespeare\n\nI.\n\nFrom fairest creatures\n"
    )
    monkeypatch.setattr(sys, "argv", ["prepare.py", str(source), str(tmp_path / "works")])
    prepare.main()
    assert "2 works" in capsys.readouterr().err
    assert {path.name: path.read_text() for path in (tmp_path / "works").iterdir()} == {
        "loves-labours-lost.txt": "LOVE'S LABOUR'S LOST\n\nby William Shakespeare\n\n\nKING:\nLet fame.\n",
        "the-sonnets.txt": "THE SONNETS\nby William Shakespeare\n\nI.\n\nFrom fairest creatures\n",
    }
