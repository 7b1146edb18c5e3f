"""How much of what a model writes is made of real words and set as a play: judge.py MODEL WORKS

Draws 20 samples of 200 tokens at temperature 0.8 and prints the share of their words that occur in the training
works, and how many samples have a speaker's heading of their own. The model's own held-out works are left out.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import zoo

HELD_OUT = ("macbeth", "twelfth-night-or-what-you-will")
WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")
HEADING = re.compile(r"^[A-Z][A-Z' .,&-]+:$", re.MULTILINE)
PROMPT = "ROMEO:"


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit("usage: judge.py MODEL WORKS")
    works = [path for path in sorted(Path(sys.argv[2]).glob("*.txt")) if path.stem not in HELD_OUT]
    known = {word for path in works for word in WORD.findall(path.read_text(encoding="utf-8").lower())}
    model = zoo.load(sys.argv[1])
    texts = list(model.sample(PROMPT, count=20, seed=0, temperature=0.8, max_tokens=200))
    written = [text.removeprefix(PROMPT) for text in texts]
    words = [word for text in written for word in WORD.findall(text.lower())]
    real = sum(word in known for word in words)
    headed = sum(bool(HEADING.search(text)) for text in written)
    sys.stdout.write(f"{real / len(words):.2%} of {len(words)} words occur in the training works\n")
    sys.stdout.write(f"{headed} of {len(texts)} samples have a speaker's heading beyond the prompt's\n")


if __name__ == "__main__":
    main()
