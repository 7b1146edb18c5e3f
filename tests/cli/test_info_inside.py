"""zoo info --inside: what weights have learned, as a table for a person, for a program and as JSON."""

import json

import numpy as np
import pytest
import torch

from cli.json_shapes import documented, shape
from zoo.datasets.table_columns import COLUMNS, Columns, to_json
from zoo.modality.sequence_format import FILE, Format
from zoo.weights.save import save
from zoo_classic.gmm import GMM
from zoo_classic.gmm_config import GMMConfig
from zoo_classic.hmm import HMM
from zoo_classic.hmm_config import HMMConfig


@pytest.fixture
def mixture(tmp_path):
    """A folder with a mixture whose columns have names and were scaled; one name tries to draw on the terminal."""
    config = GMMConfig(2, 2, "spherical")
    network = GMM(config)
    network.start(
        torch.tensor([[0.0, 1.0], [2.0, 3.0]]), torch.tensor([1.0, 4.0]), torch.tensor([0.25, 0.75])
    )
    folder = tmp_path / "mixture"
    folder.mkdir()
    save(network, folder / "model.safetensors", family="gmm", plugin="zoo-classic", config=config)
    layout = Columns(("height", "wi\x1b[31mdth"), np.array([10.0, 0.0]), np.array([2.0, 1.0]))
    (folder / COLUMNS).write_bytes(to_json(layout))
    return folder


@pytest.fixture
def letters(tmp_path):
    """A folder with a hidden Markov model of three symbols."""
    config = HMMConfig(states=2, emissions="categorical", symbols=3)
    network = HMM(config)
    table = torch.tensor([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]])
    network.assign({"emissions.probabilities": table, "transition": torch.tensor([[0.2, 0.8], [0.4, 0.6]])})
    folder = tmp_path / "letters"
    folder.mkdir()
    save(network, folder / "model.safetensors", family="hmm", plugin="zoo-classic", config=config)
    Format(("a", "t", " "), Columns(("symbol",), np.zeros(1), np.ones(1)), text=True).write(folder / FILE)
    return folder


def test_a_program_reads_a_table_of_components_in_the_units_of_the_data(zoo, mixture):
    assert zoo("info", str(mixture), "--inside").out.splitlines() == [
        "component\tweight\theight\twi[31mdth",
        "1\t75%\t14 ± 4\t3 ± 2",
        "0\t25%\t10 ± 2\t1 ± 1",
    ]


def test_a_person_reads_it_under_its_title(zoo, mixture, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    lines = [line.rstrip() for line in zoo("info", str(mixture), "--inside", terminal=True).out.splitlines()]
    assert lines == [
        "components",
        "component  weight  height  wi[31mdth",
        "        1     75%  14 ± 4      3 ± 2",
        "        0     25%  10 ± 2      1 ± 1",
    ]


def test_columns_that_do_not_fit_a_terminal_are_left_out_whole(zoo, mixture, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "30")
    ran = zoo("info", str(mixture), "--inside", terminal=True)
    assert [line.rstrip() for line in ran.out.splitlines()][1:3] == [
        "component  weight  height",
        "        1     75%  14 ± 4",
    ]
    assert "... and 1 more column" in ran.err


def test_a_card_says_how_to_sample_the_model_by_what_it_makes(zoo, mixture):
    assert zoo("info", str(mixture)).out.splitlines()[-1] == f"zoo sample {mixture}"


def test_states_are_told_with_their_symbols(zoo, letters):
    assert zoo("info", str(letters), "--inside").out.splitlines() == [
        "state\ttime\tmean stay\temits\tkind\tnext",
        "1\t67%\t2.5\tt 100%\tconsonants 100%\t0 100%",
        "0\t33%\t1.25\ta 50%, space 50%\tvowels 50%, between words 50%\t1 100%",
    ]


def test_json_is_the_card_with_the_tables(zoo, letters):
    card = json.loads(zoo("info", str(letters), "--inside", "--json").out)
    assert shape(card["inside"]) == documented("zoo info MODEL --inside --json")["inside"]
    assert [table["title"] for table in card["inside"]] == ["states"]
    assert card["inside"][0]["rows"][0][3] == "t 100%"
    del card["inside"]
    assert card == json.loads(zoo("info", str(letters), "--json").out)


def test_a_family_that_says_nothing_is_refused_before_its_weights_are_loaded(zoo, tiny_gpt2, monkeypatch):
    monkeypatch.setattr("zoo.api.load", None)
    ran = zoo("info", str(tiny_gpt2), "--inside")
    assert (ran.code, ran.out) == (1, "")
    assert "the family gpt2 does not say what its weights have learned" in ran.err
