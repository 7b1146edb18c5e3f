"""A hidden Markov model fitted to sequences by the one run: what it leaves is a model to score and to draw."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import zoo
from zoo.datasets.source import find
from zoo_cli.main import main

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_run_on_sunspots_leaves_a_model_that_scores_them_as_it_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    run = str(tmp_path / "run")
    words = [
        "train",
        "hmm",
        "--data",
        "sunspots",
        "--steps",
        "5",
        "--seed",
        "1",
        "-o",
        run,
        "--device",
        "cpu",
    ]
    settings = ["--set", "config.states=3", "--set", "data.standardise=true", "--quiet"]
    assert main([*words, *settings]) == 0
    model = zoo.load(run, device="cpu")
    series = np.array(find("sunspots").path.read_text().split()[1:], np.float64)
    whole, fitted = model.log_prob([series, series[:-15]])
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["held_out_nats_per_frame"] == pytest.approx(-(whole - fitted) / 15, rel=1e-6)
    assert (model.format.names, len(model.states(series)[0])) == (("sunspots",), 309)
    [drawn] = model.sample(length=2000)
    assert drawn.mean() == pytest.approx(series.mean(), rel=0.25)
    assert -fitted / 294 < math.log(series.std() * math.sqrt(2 * math.pi * math.e))  # that of one Gaussian


def test_a_run_on_letters_writes_letters(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    (tmp_path / "text.txt").write_text("To be, or NOT to be: that is the question. " * 20)
    run = str(tmp_path / "run")
    words = ["train", "hmm", "--data", str(tmp_path / "text.txt"), "--steps", "3", "-o", run, "--quiet"]
    settings = ["config.states=2", "data.letters=true", "data.window=50", "config.emission_prior=0.1"]
    assert main([*words, *(word for setting in settings for word in ("--set", setting))]) == 0
    model = zoo.load(run, device="cpu")
    assert (model.config.emissions, model.config.symbols) == ("categorical", 27)
    [text] = model.sample("To be, ", length=40)
    assert text.startswith("to be ")
    assert model.log_prob("TO BE!") == model.log_prob("to be")
