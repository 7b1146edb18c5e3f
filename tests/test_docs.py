"""The tables in docs/training.md are those of the code."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "training.md"

_tool = importlib.util.spec_from_file_location("settings_table", ROOT / "tools" / "settings_table.py")
settings_table = importlib.util.module_from_spec(_tool)
_tool.loader.exec_module(settings_table)


def test_every_table_of_settings_is_what_make_docs_would_write():
    text = PAGE.read_text(encoding="utf-8")

    assert settings_table.filled(text) == text


def test_a_table_says_default_meaning_and_range_of_each_setting():
    made = settings_table.filled("<!-- settings of zoo.training.plan:Plan -->\n<!-- end -->")

    assert "| `steps` | 1000 | changes of the weights; at least 1 step |" in made
    assert "| `schedule` | cosine | how the rate falls after the warm-up; cosine, linear, constant |" in made
    assert "| `epochs` | unset |" in made
