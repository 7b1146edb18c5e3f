"""Turns the one file of Shakespeare's works into one normalised text file a work: prepare.py shakespeare.txt WORKS

In the file each work starts with its title, perhaps a blank line, and "by William Shakespeare". Its plays write
speakers in four ways ("LAFEU.", "Hor.", "LYSANDER", "BEROWNE. "); here all become "LAFEU:", "HOR:" and so on, so
that a prompt such as "ROMEO:" is what a model has seen. Deterministic; standard library only.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

WORK = re.compile(r"^(?=[^\n]+\n\n?by William Shakespeare$)", re.MULTILINE)
SPEAKER = re.compile(r"(?<=\n\n)(?P<name>[A-Z][A-Za-z'.,& -]{0,39}?)[.:]?(?=\n[^\n])")
NO_SPEAKER = re.compile(r"(ACT|SCENE|THE END|PERSONS|[IVXLC]+$|[^a-zA-Z]*by )", re.IGNORECASE)
"""What a heading that looks like a speaker's may be instead: of an act, a scene, a list, a numbered poem, a title."""
LEAST_MENTIONS = 3
"""A heading in mixed case is a speaker's when the work has it so often; one in capitals always is."""


def works(text: str) -> dict[str, str]:
    """{file name: text} of every work, in the order of the file."""
    parts = [part for part in WORK.split(text) if part.strip()]
    return {_file_name(part.split("\n", 1)[0]): normalised(part) for part in parts}


def normalised(text: str) -> str:
    """One work with tidy blanks and every speaker heading as "NAME:" on a line of its own."""
    text = re.sub(r"[ \t]+$", "", text.replace("\r\n", "\n"), flags=re.MULTILINE)
    text = re.sub(r"\n{4,}", "\n\n\n", text.strip()) + "\n"
    mentions = Counter(found["name"] for found in SPEAKER.finditer(text))
    return SPEAKER.sub(lambda found: _heading(found, mentions), text)


def _heading(found: re.Match[str], mentions: Counter[str]) -> str:
    name = found["name"]
    is_speaker = (name.isupper() or mentions[name] >= LEAST_MENTIONS) and not NO_SPEAKER.match(name)
    return " ".join(name.upper().split()) + ":" if is_speaker else found[0]


def _file_name(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower().replace("'", "")).strip("-") + ".txt"


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: prepare.py SHAKESPEARE.TXT FOLDER")
    source, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    found = works(source.read_text(encoding="utf-8"))
    for name, text in found.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    sys.stderr.write(f"{len(found)} works, {sum(map(len, found.values())):,} characters, in {folder}\n")


if __name__ == "__main__":
    main()
