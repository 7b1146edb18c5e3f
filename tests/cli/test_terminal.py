"""The terminal: where colours and layouts appear, and that nothing harmful passes."""

import io
import json
import sys

import pytest

from zoo.errors import UsageError
from zoo_cli import human, terminal


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "coloured"),
    [
        (Screen(), {}, True),
        (io.StringIO(), {}, False),
        (Screen(), {"NO_COLOR": "1"}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (io.StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (Screen(), {"NO_COLOR": ""}, True),
        (Screen(), {"TERM": "dumb"}, False),
    ],
)
def test_colours_follow_the_stream_and_the_two_variables(stream, environment, coloured, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert terminal.styled("word", "bold", stream) == ("\x1b[1mword\x1b[0m" if coloured else "word")


def test_output_keeps_lines_and_loses_escapes(capsys):
    terminal.out("a\n\tb\x1b[31m\x07\x9b2J\u202ec")
    assert capsys.readouterr().out == "a\n\tb[31m2Jc\n"


def test_json_is_exact_and_cannot_drive_a_terminal(capsys):
    value = {"text": "\x1b]0;title\x07 \u202e \x9b \u00e9"}
    terminal.out_json(value)
    written = capsys.readouterr().out
    assert json.loads(written) == value
    assert "\u00e9" in written
    assert not set("\x1b\x07\x9b\u202e") & set(written)


def test_an_error_is_one_line_and_its_hint_another(capsys):
    terminal.error("the server said\nno\x1b[2J", "try\nagain")
    assert capsys.readouterr().err == "error: the server said no[2J\nhint: try again\n"


@pytest.mark.parametrize(
    ("answer", "agreed"), [("y\n", True), ("YES\n", True), ("\n", False), ("n\n", False), ("", False)]
)
def test_a_question_is_asked_on_a_terminal(answer, agreed, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", Screen(answer))
    assert terminal.confirm("remove\x1b it?", yes=False) is agreed
    captured = capsys.readouterr()
    assert captured.err == "remove it? [y/N] "
    assert captured.out == ""


def test_without_a_terminal_only_yes_answers(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(UsageError) as raised:
        terminal.confirm("remove it?", yes=False)
    assert raised.value.hint == "add --yes"
    assert terminal.confirm("remove it?", yes=True)


def test_rich_takes_markup_as_text():
    stream = io.StringIO()
    terminal.console(stream).print("[red]x[/red] [/] :smile: [link=http://a]b[/link]")
    assert stream.getvalue() == "[red]x[/red] [/] :smile: [link=http://a]b[/link]\n"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1K"),
        (1234, "1.23K"),
        (999_499, "999K"),
        (999_999, "1M"),
        (174604259328, "175B"),
    ],
)
def test_counts_have_three_digits(number, said):
    assert human.count(number) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [(None, "unknown"), (0, "0 B"), (999, "999 B"), (1_000, "1 kB"), (548105171, "548 MB")],
)
def test_sizes_are_decimal(number, said):
    assert human.size(number) == said
