"""The error boundary: every way a command can end has its exit code and at most two lines."""

import errno
import os
import re
import signal
import subprocess
import sys

import pytest

from zoo.errors import HubError, UnknownModelError, UsageError, ZooError
from zoo_cli import app
from zoo_cli.main import main


@pytest.fixture
def fails(monkeypatch):
    """Let every command fail with this error."""

    def set_up(error):
        def run(words):
            raise error

        monkeypatch.setattr(app, "run", run)

    return set_up


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ZooError("no", hint="do this"), 1, "error: no\nhint: do this\n"),
        (UsageError("bad value"), 2, "error: bad value\n"),
        (UnknownModelError("no model 'x'", near=("y",)), 1, "error: no model 'x'\n"),
        (HubError("the Hub said\x1b[2J\nline two"), 1, "error: the Hub said[2J line two\n"),
        (
            OSError(errno.EACCES, "Permission denied", "/x"),
            1,
            "error: /x: Permission denied\nhint: name a place that you may use, or change its permissions\n",
        ),
        (
            ValueError("deep\ninside"),
            1,
            "error: ValueError: deep inside\nhint: set ZOO_DEBUG=1 for the traceback\n",
        ),
        (MemoryError(), 1, "error: MemoryError: \nhint: set ZOO_DEBUG=1 for the traceback\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_each_error_has_its_exit_code_and_no_traceback(zoo, fails, error, code, said):
    fails(error)
    assert zoo("list") == type(zoo("list"))(code, "", said)


def test_the_traceback_is_shown_when_asked_for(zoo, fails, monkeypatch):
    fails(ValueError("deep inside\x1b[2J"))
    monkeypatch.setenv("ZOO_DEBUG", "1")
    ran = zoo("list")
    assert ran.code == 1
    assert "Traceback (most recent call last)" in ran.err
    assert "error: ValueError: deep inside[2J" in ran.err
    assert "\x1b" not in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lst"], "there is no command 'lst'; did you mean 'list'?"),
        (["--lsit"], "--lsit"),
        (["list", "--famly", "x"], "--family"),
        (["list", "a", "b"], "b"),
        (["info"], "MODEL"),
        (["cache", "rm"], "MODEL"),
        (["sample", "gpt2", "--\x1b[31mred"], "31mred"),
    ],
)
def test_wrong_usage_exits_with_2_and_points_to_the_help(zoo, words, said):
    ran = zoo(*words)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert "\x1b" not in ran.err
    assert len(ran.err.splitlines()) == 2
    assert "--help` shows what is possible" in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sample", "gpt2", "-n", "0"], "--count is 0, but must be at least 1"),
        (["sample", "gpt2", "-n", "x"], "--count is 'x', but must be a whole number"),
        (["sample", "gpt2", "--seed", "-1"], "--seed is -1, but must be at least 0"),
        (["sample", "gpt2", "--seed", "9" * 19],
         "--seed is 9999999999999999999, but must be at least 0 and at most 9,223,372,036,854,775,807"),
        (["sample", "gpt2", "--start", "9" * 19],
         "--start is 9999999999999999999, but must be at least 0 and at most 9,223,372,036,854,775,807"),
        (["sample", "gpt2", "--temperature", "hot"], "--temperature is 'hot', but must be a number"),
        (["sample", "gpt2", "--temperature", "-1"], "--temperature is -1.0, but must be at least 0"),
        (["sample", "gpt2", "--top-p", "2"], "--top-p is 2.0, but must be above 0 and at most 1"),
        (["sample", "gpt2", "--truncate", "up"], "--truncate is 'up', but must be one of never, left"),
        (["sample", "gpt2", "--cmopile"], "there is no option --cmopile; did you mean --compile?"),
        (["sample", "gpt2", "-n"], "-n needs a value"),
        (["sample", "gpt2", "--prompt"], "--prompt needs a value"),
        (["sample"], "MODEL is missing"),
        (["list", "a", "b"], "too many arguments: b"),
        (["sample", "gpt2", "once", "upon", "a time"], "too many arguments: upon a time"),
        (["pull", "gpt2", "--offline=3"], "--offline takes no value"),
        (["sample", ""], "the model's name is empty"),
        (["chat", ""], "the model's name is empty"),
        (["sample", "gpt2", "-n", f"-{'9' * 400}"], f"--count is -{'9' * 38}…, but must be at least 1"),
    ],
)  # fmt: skip
def test_options_have_one_voice(zoo, words, said):
    ran = zoo(*words)
    assert (ran.code, ran.err.splitlines()[0]) == (2, f"error: {said}")


@pytest.mark.parametrize(
    ("words", "value", "most"),
    [
        (["sample", "gpt2", "-n", "9" * 400], f"--count is {'9' * 39}…", "1,000,000,000"),
        (["sample", "gpt2", "--batch-size", "2000000"], "--batch-size is 2000000", "1,000,000"),
        (["score", "gpt2", "x", "--batch-size", "2000000"], "--batch-size is 2000000", "1,000,000"),
        (["eval", "gpt2", "--batch-size", "2000000"], "--batch-size is 2000000", "1,000,000"),
        (["train", "gpt2", "--batch-size", "2000000"], "--batch-size is 2000000", "1,000,000"),
        (["train", "gpt2", "--processes", "2000"], "--processes is 2000", "1,024"),
        (["sample", "gpt2", "--max-tokens", "2000000"], "--max-tokens is 2000000", "1,000,000 tokens"),
        (["sample", "sunspots-hmm", "--length", f"{10**9}"], "--length is 1000000000", "100,000,000 frames"),
    ],
)
def test_a_number_too_large_is_told_with_what_is_allowed(zoo, words, value, most):
    ran = zoo(*words)
    said = f"error: {value}, but must be at least 1 and at most {most}"
    assert (ran.code, ran.err.splitlines()[0]) == (2, said)


@pytest.mark.parametrize("option", ["--seed", "--start"])
def test_a_seed_of_four_hundred_digits_is_told_in_short(zoo, option):
    ran = zoo("sample", "sunspots-hmm", option, "9" * 400)
    assert ran.code == 2
    assert (
        f"{option[2:]} is {'9' * 18}...{'9' * 18} (400 characters), but must be at least 0 and at most 9,223"
        in ran.err
    )
    assert zoo("sample", "gpt2", "--temperature", "9" * 400).err.startswith(
        "error: --temperature is inf, but must be finite and at least 0"
    )


@pytest.mark.parametrize("command", app.BY_MODEL)
def test_options_before_an_unknown_place_of_the_model_say_that_it_comes_first(zoo, command):
    assert (
        f"hint: MODEL comes first: zoo {command} MODEL [options]"
        in zoo(command, "--colour", "red", "gpt2").err
    )


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["list", "--nothing"], "list"),
        (["pull", "gpt2", "--revision"], "pull"),
        (["cache", "rm"], "cache rm"),
        (["cache", "rn"], "cache"),
        (["plugin", "list", "x"], "plugin list"),
        *(([command, "gpt2", "--nothing"], f"{command} gpt2") for command in app.BY_MODEL),
        *(([command, "gpt2", "--device"], f"{command} gpt2") for command in app.BY_MODEL),
        (["sample"], "sample"),
    ],
)
def test_wrong_usage_of_a_command_points_to_its_own_help(zoo, words, command):
    assert zoo(*words).err.endswith(f"hint: `zoo {command} --help` shows what is possible\n")
    assert zoo(*command.split(), "--help").code == 0


@pytest.mark.parametrize("words", [[], ["-h"], ["help"], ["help", "help"]])
def test_without_words_the_help_is_shown(zoo, words):
    ran = zoo(*words)
    assert ran == zoo("--help")
    assert ran.code == 0
    assert all(f"  {name} " in ran.out for name in app.COMMANDS)


def test_the_version_is_one_line(zoo):
    import zoo as package

    assert zoo("--version").out == f"zoo {package.__version__}\n"


@pytest.mark.parametrize("group", app.GROUPS)
def test_a_group_alone_shows_its_help(zoo, group):
    assert zoo(group) == zoo(group, "--help") == zoo("help", group)
    assert zoo(group).code == 0


def test_help_is_asked_for_as_habit_expects(zoo):
    assert zoo("help", "sample", "gpt2") == zoo("sample", "gpt2", "-h") == zoo("sample", "-h", "gpt2")
    assert "--temperature" in zoo("help", "sample", "gpt2").out
    assert zoo("help", "smaple").err.startswith("error: there is no command 'smaple'; did you mean 'sample'?")


@pytest.mark.parametrize("name", app.COMMANDS)
def test_every_command_has_a_help_of_plain_lines_in_a_pipe(zoo, name):
    ran = zoo(name, "--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage: zoo {name} ")
    assert not set("\x1b╭│") & set(ran.out)


@pytest.mark.parametrize("words", [[], *([group] for group in app.GROUPS)])
def test_what_a_command_does_is_said_whole_in_the_list_of_commands(zoo, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "80")
    assert "..." not in zoo(*words, "--help").out.partition("Commands:")[2]


@pytest.mark.parametrize("name", app.COMMANDS)
def test_the_help_on_a_terminal_says_all_that_it_says_in_a_pipe(zoo, monkeypatch, name):
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    shown = [zoo(name, "--help", terminal=terminal).out for terminal in (False, True)]
    in_a_pipe, on_a_terminal = (
        set(re.findall(r"[\w@:/'=.-]{3,}", re.sub(r"\x1b\[[\d;]*m", "", text))) for text in shown
    )
    assert in_a_pipe - on_a_terminal <= {"Commands:", "Options:", "Arguments:"}


def test_characters_that_the_terminal_lacks_become_question_marks(tmp_path):
    code = "import sys; from zoo_cli import streams, terminal as t; streams.prepare(); t.out('\\u4f60 ok')"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
    assert ran.stdout == b"? ok\n"


def test_a_reader_that_goes_away_is_no_error_to_speak_of():
    command = [sys.executable, "-c", "import sys; from zoo_cli.main import main; sys.exit(main())", "list"]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        ran = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert ran.stderr == ""
    assert ran.returncode == 1


def test_ctrl_c_exits_with_130_and_no_traceback(tmp_path):
    code = (
        "import sys, time; from zoo_cli import app, main;"
        "app.run = lambda words: (print('up', flush=True), time.sleep(60));"
        "sys.exit(main.main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, "interrupted\n")


def test_main_returns_what_typer_exits_with(monkeypatch):
    def ended(words):
        sys.exit(0)

    monkeypatch.setattr(app, "run", ended)
    assert main(["--show-completion"]) == 0
