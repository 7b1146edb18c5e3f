"""What only reads the registry files stays light: no torch, numpy or huggingface_hub, and MODEL completes by them."""

import json
import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "numpy", "huggingface_hub", "transformers", "safetensors", "tokenizers")
RUN = (
    "import json, sys; from zoo_cli.main import main; code = main(sys.argv[1:]);"
    "heavy = [name for name in json.loads(sys.stdin.read()) if name in sys.modules];"
    "print(json.dumps([code, heavy]), file=sys.stderr)"
)


def loaded(*words, **environment):
    """What of HEAVY, rich and pydantic running `zoo WORDS` in a fresh process has imported, and the output."""
    ran = subprocess.run(
        [sys.executable, "-c", RUN, *words],
        input=json.dumps([*HEAVY, "rich", "pydantic", "typer"]),
        capture_output=True,
        text=True,
        env=os.environ | environment,
        check=True,
    )
    code, heavy = json.loads(ran.stderr.splitlines()[-1])
    assert code == 0, ran.stderr
    return set(heavy), ran.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--task", "text-generation"],
        ["list", "--family=gpt2", "--json"],
        ["info", "gpt2"],
        ["info", "gpt2", "--json"],
        ["plugin", "list"],
        ["--help"],
        ["sample", "gpt2", "--help"],
        ["cache", "list"],
        ["--version"],
    ],
    ids=" ".join,
)
def test_no_heavy_package_is_imported(words):
    assert not loaded(*words)[0] & set(HEAVY)


def test_the_plainest_list_imports_neither_rich_nor_pydantic():
    assert loaded("list")[0] == {"typer"}


def complete(line):
    """What bash is offered for the last word of the line."""
    words = line.split(" ")
    heavy, out = loaded(_ZOO_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
    assert not heavy & set(HEAVY)
    return out.split()


def test_models_complete_without_heavy_packages():
    assert complete("zoo sample gpt2-") == ["gpt2-small", "gpt2-medium", "gpt2-large", "gpt2-xl"]


def test_commands_and_options_complete():
    assert complete("zoo pl") == ["plugin"]
    assert {"--temperature", "--top-k"} <= set(complete("zoo sample gpt2 --t"))
