"""The README shows what the command shows."""

import re
import shlex
from pathlib import Path

import pytest

EXAMPLES = re.findall(
    r"^\$ (zoo .+)\n((?:(?!```).*\n)+)",
    Path(__file__, "../../../README.md").resolve().read_text(encoding="utf-8"),
    re.M,
)


@pytest.mark.parametrize(("line", "shown"), EXAMPLES, ids=[line for line, _ in EXAMPLES])
def test_an_example_is_what_a_terminal_shows(zoo, monkeypatch, line, shown):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    ran = zoo(*shlex.split(line)[1:], terminal=True)
    assert [row.rstrip() for row in ran.out.splitlines()] == shown.splitlines()
    assert (ran.code, ran.err) in ((0, ""), (0, "\r\x1b[Kloading shakespeare-nano\r\x1b[K"))  # cleared


def test_the_first_example_is_held():
    assert EXAMPLES[0][0].startswith("zoo sample shakespeare-nano")
