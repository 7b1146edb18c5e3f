"""On a real terminal: text arrives piece by piece, and nothing of it can drive the terminal."""

import os
import select
import subprocess
import sys
import time

import pytest

pty = pytest.importorskip("pty")

SLOW = """
import sys, time
from zoo import api, targets
from zoo.modality.text import TextPiece, TextSample

class Model:
    def stream(self, *, count, seed, start, batch_size, controls):
        for text in ("one ", "two\\x1b[2J ", "three"):
            yield TextPiece(0, text)
            time.sleep(0.4)
        yield TextPiece(0, "", TextSample(0, seed, controls.prompt, "one two three", (), "end"))

api.load = lambda *_, **__: Model()
from zoo_cli.main import main
sys.exit(main(["sample", "gpt2", "--prompt", "P: ", "--seed", "1"]))
"""


def test_text_arrives_as_it_is_drawn():
    master, slave = pty.openpty()
    environment = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")
    }
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW],
        stdout=slave,
        stderr=slave,
        stdin=slave,
        env=environment | {"TERM": "xterm"},
    )
    os.close(slave)
    arrived = []
    while select.select([master], [], [], 60)[0]:
        try:
            read = os.read(master, 4096)
        except OSError:  # Linux: the other end is closed
            break
        if not read:
            break
        arrived.append((time.monotonic(), read.decode()))
    os.close(master)
    assert process.wait(timeout=20) == 0
    screen = "".join(text for _, text in arrived)
    at = {word: next(when for when, text in arrived if word in text) for word in ("one", "two", "three")}
    assert at["two"] - at["one"] > 0.2
    assert at["three"] - at["two"] > 0.2
    assert "\x1b[1mP: \x1b[0mone two[2J three\r\n" in screen
    assert "loading gpt2-small" in screen
