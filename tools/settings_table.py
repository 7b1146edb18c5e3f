"""The tables of settings in docs/training.md, made from the classes that declare them: `make docs` runs this.

A table stands between `<!-- settings of module:Class -->` and `<!-- end -->`.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from pathlib import Path

from zoo import settings
from zoo.settings import Setting

_MARKED = re.compile(r"(<!-- settings of (\S+):(\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """A page with all its tables as the code says them now."""

    def table(found: re.Match[str]) -> str:
        kind = getattr(importlib.import_module(found[2]), found[3])
        rows = [_row(field) for field in settings.fields(kind)]
        return "\n".join((found[1] + "| setting | default | meaning |", "|---|---|---|", *rows, found[4]))

    return _MARKED.sub(table, text)


def _row(field: Setting) -> str:
    said, default = field.described, field.default
    limited = said.choices or any(limit is not None for limit in (said.minimum, said.above, said.maximum))
    allowed = ", ".join(said.choices) if said.choices else settings.range_text(said)
    shown = "required" if default is dataclasses.MISSING else _plain(default)
    unit = f" (in {said.unit})" if said.unit and not limited else ""
    return f"| `{field.name}` | {shown} | {said.help}{f'; {allowed}' if limited else unit} |"


def _plain(value: object) -> str:
    if value is None or value == ():
        return "unset"
    return (
        str(value).lower()
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def main(paths: list[str]) -> int:
    for name in paths:
        path = Path(name)
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
