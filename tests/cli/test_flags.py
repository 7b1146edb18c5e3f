"""Options made from a settings dataclass: what a field says is what the command line takes."""

from dataclasses import dataclass

import pytest
import typer

from zoo.errors import PluginError, UsageError
from zoo.settings import Settings, make, setting
from zoo_cli import flags


@dataclass(frozen=True)
class Controls(Settings):
    prompt: str = setting("", help="what to draw", flags=("-p",))
    guidance_scale: float = setting(7.5, help="pull towards the prompt", minimum=1.0, unit="times")
    steps: int | None = setting(None, help="solver steps [fast]", above=0)
    colours: tuple[str, ...] = setting((), help="allowed colours")
    sampler: str = setting("ddim", help="solver", choices=("ddim", "euler"))
    tiled: bool = setting(False, help="tile the image")
    clip: bool = setting(True, help="clip to the range")


@dataclass(frozen=True)
class Required(Settings):
    width: int = setting(help="pixels")


def run(words, settings_class=Controls, **options):
    """The values that a command with these options gets, and what typer returns (the exit code of --help)."""
    got = []

    def command(name: str, asked: dict, seed: int = 0) -> None:
        """Draw."""
        got.append((name, seed, asked))

    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(flags.with_settings(command, settings_class, into="asked", panel="Controls", **options))
    app(args=words, standalone_mode=False, prog_name="draw")
    return got[0] if got else None


def test_only_what_was_given_is_passed_on():
    assert run(["x"]) == ("x", 0, {})
    assert make(Controls, run(["x"])[2], what="test") == Controls()


def test_each_kind_of_field_has_its_option():
    words = [
        "--guidance-scale",
        "3",
        "-p",
        "a fox",
        "x",
        "--steps=4",
        "--colours",
        "red",
        "--colours",
        "blue",
    ]
    name, seed, asked = run([*words, "--tiled", "--no-clip", "--sampler", "euler", "--seed", "9"])
    assert (name, seed) == ("x", 9)
    assert make(Controls, asked, what="test") == Controls(
        "a fox", 3.0, 4, ("red", "blue"), "euler", tiled=True, clip=False
    )


@pytest.mark.parametrize("words", [["--steps", "0"], ["--guidance-scale", "0.5"], ["--sampler", "magic"]])
def test_ranges_and_choices_are_checked_by_the_settings(words):
    with pytest.raises(UsageError, match=f"^{words[0]} is .*, but must be "):
        run(["x", *words])


@pytest.mark.parametrize(
    "words", [["--steps", "many"], ["--guidance-scale", "x"], ["--tiled=yes"], ["--step", "1"]]
)
def test_a_value_of_another_type_is_a_usage_error(words):
    with pytest.raises(typer.TyperException) as raised:
        run(["x", *words])
    assert raised.value.exit_code == 2


def test_the_help_shows_text_range_default_and_choices(capsys):
    run(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "-p, --prompt TEXT What to draw." in shown
    assert "--guidance-scale NUMBER Pull towards the prompt (at least 1 time; default 7.5)." in shown
    assert "--steps N Solver steps [fast] (above 0)." in shown
    assert "--sampler ddim|euler Solver (default ddim)." in shown
    assert "--clip / --no-clip Clip to the range (default on)." in shown
    assert "--tiled Tile the image." in shown
    assert "--no-tiled" not in shown


def test_fields_may_be_left_out():
    with pytest.raises(typer.TyperException):
        run(["x", "--tiled"], without=("tiled",))


def test_a_field_without_default_is_required():
    with pytest.raises(typer.TyperException, match="width"):
        run(["x"], Required)
    assert run(["x", "--width", "3"], Required) == ("x", 0, {"width": 3})


def test_a_field_may_not_take_an_option_of_the_command():
    @dataclass(frozen=True)
    class Clashing(Settings):
        seed: int = setting(0, help="another seed")

    with pytest.raises(PluginError, match=r"Clashing.*'seed'"):
        run(["x"], Clashing)


def test_brackets_in_a_plugins_help_are_no_markup_on_a_terminal(monkeypatch):
    import sys

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    made = flags.with_settings(lambda asked: None, Controls, into="asked", panel="Controls")
    options = {name: annotation.__metadata__[0].help for name, annotation in made.__annotations__.items()}
    assert options["steps"] == r"Solver steps \[fast] (above 0)."
