"""Ctrl-C comes upon whatever code runs: 130 and one line, never swallowed, never another error."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

LINE = "interrupted\n"


def interrupted(command: str, *, modules: dict[str, str] | None = None, folder=None) -> tuple[int, str]:
    """Run `command` as the command's body in a process, send SIGINT once it prints; exit code and standard error."""
    for name, text in (modules or {}).items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    start = f"""
import os, sys, time
from zoo_cli import app, main
up = lambda: print("up", flush=True)
def body(words):
{textwrap.indent(textwrap.dedent(command), "    ")}
app.run = body
sys.exit(main.main())
"""
    environment = os.environ | {"PYTHONPATH": str(folder or "")}
    process = subprocess.Popen(
        [sys.executable, "-c", start],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    return process.returncode, said


SLEEP = "for _ in range(400): time.sleep(0.05)"


@pytest.mark.parametrize(
    "body",
    [
        f"up()\n{SLEEP}",
        f"try:\n    up()\n    {SLEEP}\nexcept BaseException:\n    pass\n{SLEEP}",
        f"try:\n    up()\n    {SLEEP}\nexcept KeyboardInterrupt:\n    raise RecursionError('deep')",
        f"class Lost:\n    def __del__(self):\n        up()\n        {SLEEP}\nlost = Lost()\ndel lost\n{SLEEP}",
        f"up()\ntry:\n    {SLEEP}\nfinally:\n    time.sleep(0.5)\n    assert sys.exc_info()[0] is KeyboardInterrupt",
    ],
    ids=["plain", "swallowed", "another error", "lost in a destructor", "cleaning up takes its time"],
)
def test_it_ends_with_130_and_one_line(body):
    assert interrupted(body) == (130, LINE)


def test_an_import_that_would_swallow_it_ends_at_once(tmp_path):
    module = f"""
        import builtins, time
        try:
            builtins.print("up", flush=True)
            {SLEEP}
        except BaseException:
            pass
        {SLEEP}
    """
    assert interrupted("import greedy", modules={"greedy": module}, folder=tmp_path) == (130, LINE)


def test_what_is_to_be_whole_is_done_before_it_is_answered():
    body = """
from zoo_cli import interrupts
with interrupts.whole():
    up()
    time.sleep(0.5)
    print("whole", file=sys.stderr)
if interrupts.asked():
    interrupts.heard()
    return 7
"""
    assert interrupted(body) == (7, "whole\n")


def test_with_results_to_keep_it_waits_for_an_import(tmp_path):
    modules = {"slow": "import time\nprint('up', flush=True)\ntime.sleep(0.6)\n"}
    body = """
from zoo_cli import interrupts
try:
    with interrupts.keeping():
        import slow
        time.sleep(5)
finally:
    print("kept", file=sys.stderr)
"""
    assert interrupted(body, modules=modules, folder=tmp_path) == (130, f"kept\n{LINE}")


def test_rows_that_are_being_written_are_kept():
    body = """
import contextlib
from zoo_cli import interrupts, table_output

kept = []

@contextlib.contextmanager
def output():
    yield take
    print(kept, file=sys.stderr)

def take(rows):
    if len(kept) == 1:
        up()
        time.sleep(0.5)
    kept.append(rows)

return table_output.send([[1], [2], [3]], [output()], partly=True)
"""
    assert interrupted(body) == (2, "[[1], [2]]\n")


def test_one_after_the_command_is_over_changes_nothing():
    assert interrupted("import atexit\natexit.register(lambda: (up(), time.sleep(0.3)))\nreturn 0") == (0, "")


def test_a_text_run_says_how_many_samples_it_saved(zoo, scripted, tmp_path):
    def said(index: int) -> str:
        if index == 2:
            raise KeyboardInterrupt
        return "hello"

    scripted(said)
    file = tmp_path / "a.jsonl"
    words = ("sample", "gpt2", "-n", "4", "--batch-size", "1", "--seed", "1", "-o", str(file))
    ran = zoo(*words)
    assert (ran.code, ran.err.splitlines()[-1]) == (130, f"interrupted; 2 of 4 samples saved to {file}")
    assert len(file.read_text().splitlines()) == 2
