"""What is said of the components of mixtures and of hidden states, which for English are vowels and consonants."""

from __future__ import annotations

import zipfile
from typing import Any

import pytest
import torch

from zoo.datasets.builtin import BUILT_IN
from zoo.modality.description import Description
from zoo.modality.sequence_format import LETTERS, folded
from zoo.noise import Noise
from zoo_classic.describe_gmm import describe as describe_gmm
from zoo_classic.describe_hmm import describe as describe_hmm
from zoo_classic.describe_hmm import kind_of, long_run
from zoo_classic.gmm import GMM
from zoo_classic.gmm_config import GMMConfig
from zoo_classic.hmm import HMM
from zoo_classic.hmm_config import HMMConfig
from zoo_classic.sequences import SequencePasses


def mixture(**config: Any) -> GMM:
    model = GMM(GMMConfig(2, 3, "diagonal", **config))
    model.start(
        torch.tensor([[0.0, 5.0], [1.5, 5.0], [-2.0, 5.0]]),
        torch.tensor([[1.0, 4.0], [0.25, 4.0], [1.0, 9.0]]),
        torch.tensor([0.2, 0.797, 0.003]),
    )
    return model


def chain(transition: list[list[float]], **parts: Any) -> HMM:
    config = parts.pop("config", {"columns": 1})
    model = HMM(HMMConfig(states=len(transition), **config))
    tensors = {name.replace("__", "."): torch.tensor(value) for name, value in parts.items()}
    model.assign({"transition": torch.tensor(transition)} | tensors)
    return model


def column(described: Description, name: str) -> list[str]:
    return [row[described.columns.index(name)] for row in described.rows]


def test_components_come_by_weight_with_means_and_deviations():
    assert describe_gmm(mixture(), ("height", "width")) == Description(
        "components",
        ("component", "weight", "height", "width"),
        (
            ("1", "80%", "1.5 ± 0.5", "5 ± 2"),
            ("0", "20%", "0 ± 1", "5 ± 2"),
            ("2", "<1%", "-2 ± 1", "5 ± 3"),
        ),
        ("component", "weight", "height", "width"),
    )


def test_values_are_told_in_the_units_of_the_data():
    described = describe_gmm(mixture(), ("height", "width"), (10.0, 0.0), (2.0, 100.0))
    assert column(described, "height") == ["13 ± 1", "10 ± 2", "6 ± 2"]
    assert column(described, "width")[0] == "500 ± 200"


def test_columns_without_a_name_have_their_number_and_no_two_headings_are_alike():
    assert describe_gmm(mixture()).columns == ("component", "weight", "0", "1")
    assert describe_gmm(mixture(), ("weight", "weight_")).columns == (
        "component",
        "weight",
        "weight_",
        "weight__",
    )


@pytest.mark.parametrize("covariance", ["full", "tied", "diagonal", "spherical"])
def test_of_many_components_and_columns_the_heaviest_and_most_telling_are_told(covariance):
    model = GMM(GMMConfig(9, 25, covariance))
    means = torch.zeros(25, 9)
    means[:, 2] = torch.arange(25.0) * 10  # these columns alone differ
    means[:, 7] = -torch.arange(25.0)
    model.start(means, model.covariances, torch.arange(1.0, 26) / 325)
    described = describe_gmm(model)
    assert described.title == "components: the 20 largest of 25, the 6 most telling of 9 columns"
    assert column(described, "component") == [str(24 - place) for place in range(20)]
    assert {"2", "7"} < set(described.columns)
    assert len(described.columns) == 2 + 6
    assert column(described, "2")[0] == "240 ± 1"


def test_states_come_by_their_share_of_the_time():
    """Left with 0.1 and 0.3 a frame, two states share the time 3 to 1 and last 10 and 3.3 frames."""
    means = [[[50.0]], [[-1.0]]]
    described = describe_hmm(chain([[0.7, 0.3], [0.1, 0.9]], emissions__means=means), ("load",))
    assert described.title == "states"
    assert described.columns == ("state", "time", "mean stay", "load", "next")
    assert described.rows == (
        ("1", "75%", "10", "-1 ± 1", "0 100%"),
        ("0", "25%", "3.33", "50 ± 1", "1 100%"),
    )
    assert described.numbers == ("state", "time", "mean stay", "load")


def test_a_state_that_is_never_left_has_all_the_time_in_the_end():
    described = describe_hmm(chain([[0.5, 0.5], [0.0, 1.0]], config={"transitions": "left-to-right"}))
    assert column(described, "mean stay") == ["for good", "2"]
    assert column(described, "time") == ["100%", "0%"]
    assert column(described, "next") == ["", "1 100%"]


def test_the_long_run_is_right_for_chains_with_periods_and_of_parts_that_never_meet():
    swaps = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).double()
    start = torch.tensor([0.5, 0.1, 0.4]).double()
    torch.testing.assert_close(long_run(start, swaps), torch.tensor([0.3, 0.3, 0.4]).double())
    rare = torch.tensor([[1 - 1e-9, 1e-9], [3e-9, 1 - 3e-9]]).double()
    torch.testing.assert_close(
        long_run(start[:2] / 0.6, rare), torch.tensor([0.75, 0.25]).double(), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("covariance", ["diagonal", "spherical", "full", "tied"])
def test_mixed_gaussians_are_told_as_a_whole(covariance):
    """Half at -1, half at 1, each with variance 1: mean 0, variance 2."""
    config = {"columns": 1, "mixtures": 2, "covariance": covariance}
    model = chain([[1.0]], config=config, emissions__means=[[[-1.0], [1.0]]])
    assert column(describe_hmm(model), "0") == ["0 ± 1.4"]


def test_counts_are_told_with_the_deviation_of_poissons():
    config = {"emissions": "poisson", "columns": 2}
    model = chain([[1.0]], config=config, emissions__rates=[[4.0, 100.0]])
    assert describe_hmm(model, ("cars", "people")).rows[0][3:5] == ("4 ± 2", "100 ± 10")


def test_symbols_are_told_so_that_they_can_be_read():
    config = {"emissions": "categorical", "symbols": 4}
    model = chain([[1.0]], config=config, emissions__probabilities=[[0.4, 0.31, 0.285, 0.005]])
    assert column(describe_hmm(model, (" ", ",", "\n", "x")), "emits") == ['space 40%, "," 31%, newline 28%']
    assert column(describe_hmm(model), "emits") == ["0 40%, 1 31%, 2 28%"]
    assert "kind" not in describe_hmm(model, (" ", ",", "\n", "x")).columns  # no vowels among them
    assert "kind" not in describe_hmm(model, ("A", "C", "G", "T")).columns  # no letters of a language


def test_states_of_letters_say_of_what_kind():
    config = {"emissions": "categorical", "symbols": 4}
    table = [[0.56, 0.4, 0.03, 0.01], [0.0, 0.05, 0.05, 0.9]]
    model = chain([[0.4, 0.6], [0.5, 0.5]], config=config, emissions__probabilities=table)
    described = describe_hmm(model, ("e", "É", "t", " "))
    assert dict(zip(column(described, "state"), column(described, "kind"), strict=True)) == {
        "0": "vowels 96%",
        "1": "between words 90%",
    }
    assert [kind_of(one) for one in ("é", "Ñ", "7", "\n", "?", "th")] == [
        "vowels",
        "consonants",
        "digits",
        "between words",
        "punctuation",
        "",
    ]


def test_two_states_of_english_are_vowels_with_the_space_and_consonants():
    """The experiment of Cave and Neuwirth, "Hidden Markov models for English", 1980, on 20,000 letters of Macbeth."""
    with zipfile.ZipFile(BUILT_IN["shakespeare"].path()) as works:
        text = folded(works.read("macbeth.txt").decode())[:20_000]
    letters = torch.tensor([LETTERS.index(letter) for letter in text])
    config = HMMConfig(states=2, emissions="categorical", symbols=len(LETTERS), restarts=6, restart_steps=25)
    model = HMM(config)
    for step in model.fit(SequencePasses(list(letters.split(100))), Noise(0), {}):
        if step["converged"]:
            break
    likeliest = dict(zip(LETTERS, model.emissions.probabilities.argmax(0).tolist(), strict=True))
    vowel = likeliest["e"]
    likeliest["q"] = 1 - vowel  # always before u: either state will do
    assert {letter for letter, state in likeliest.items() if state == vowel} == set(" aeiou")
    kinds = dict(
        zip(*(column(describe_hmm(model, LETTERS), name) for name in ("state", "kind")), strict=True)
    )
    assert kinds[str(vowel)].startswith("vowels")
    assert "between words" in kinds[str(vowel)]
    assert kinds[str(1 - vowel)].startswith("consonants 9")
