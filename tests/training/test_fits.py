"""Models that are fitted, in the same runs as those trained: resumed to the same bits, ended when converged."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import zoo
import zoo.errors
from training import commands
from zoo.datasets.passes import RowPasses
from zoo.errors import CapabilityError, DataError, TrainingError, UsageError
from zoo.noise import Noise
from zoo.training import checkpoint, resuming, run
from zoo.training.fitting import Fitter, fit
from zoo.training.plan import FitPlan, Plan
from zoo.training.recipe import Recipe
from zoo.weights.tensors import read_header, zoo_metadata
from zoo_classic.gmm import GMM
from zoo_classic.gmm_config import GMMConfig
from zoo_cli.main import main

pytestmark = pytest.mark.usefixtures("one_thread")

WHOLE = {"components": 3}
BATCHES = {"components": 3, "batch_rows": 60}
OVERLAPPING = ["--set", "config.components=3", "--set", "plan.until_converged=false"]


def blobs(count: int = 300, apart: float = 2.0) -> np.ndarray:
    """Rows (N, 2) of three round clusters."""
    random = np.random.default_rng(0)
    centres = apart * np.array([[0.0, 0.0], [1.0, 2.0], [-2.0, 1.0]])
    return centres[random.integers(3, size=count)] + random.normal(size=(count, 2))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    lines = ("x,y", *(f"{x!r},{y!r}" for x, y in blobs().tolist()))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def begin(table: Path, folder: Path, config: dict, **plan) -> run.Run:
    wanted = Recipe("gmm", config, str(table), plan={"until_converged": False, "checkpoint_every": 1, **plan})
    return run.begin(wanted, folder, device="cpu")


def done(begun: run.Run, steps: int | None = None) -> run.Run:
    for _ in itertools.islice(run.steps(begun), steps):
        pass
    return begun


def fitted(table: Path, folder: Path, config: dict, **plan) -> run.Run:
    return done(begin(table, folder, config, **plan))


def fit_by_hand(config: dict, rows: np.ndarray, steps: int) -> tuple[GMM, list[float]]:
    network = GMM(GMMConfig(2, **config))
    said = itertools.islice(network.fit(RowPasses(rows), Noise(0), {}), steps)
    return network, [step["log_likelihood"] for step in said]


@pytest.mark.parametrize("config", [WHOLE, BATCHES], ids=["whole", "batches"])
def test_a_run_is_the_fit_itself_step_by_step(table, tmp_path, config):
    begun = begin(table, tmp_path / "run", config, steps=7)
    told = [step.loss for step in run.steps(begun)]
    rows = begun.rows
    by_hand = GMM(GMMConfig(2, **config))
    said = itertools.islice(by_hand.fit(rows, Noise(0), {}), 7)
    assert told == [step["log_likelihood"] for step in said]
    assert torch.equal(begun.learner.network.means, by_hand.means)


@pytest.mark.parametrize("config", [WHOLE, BATCHES], ids=["whole", "batches"])
def test_a_fit_stopped_after_any_step_goes_on_to_the_same_bits(table, tmp_path, config):
    whole = fitted(table, tmp_path / "whole", config, steps=9)
    for at in range(1, 9):
        folder = tmp_path / f"stopped-{at}"
        done(begin(table, folder, config, steps=9), at)
        done(resuming.resume(folder, device="cpu"))
        assert commands.sha256(folder) == commands.sha256(whole.folder)
        assert commands.last_checkpoint(folder) == commands.last_checkpoint(whole.folder)
        assert commands.metrics(folder) == commands.metrics(whole.folder)


def test_a_fit_killed_outright_goes_on_to_the_same_bits(table, tmp_path):
    words = ["train", "gmm", "--data", str(table), "--device", "cpu", "--quiet", *OVERLAPPING]
    words += ["--set", "plan.checkpoint_every=5", "--set", "plan.evaluate_every=7", "--steps", "200"]
    assert main([*words, "-o", str(tmp_path / "whole")]) == 0
    killed = tmp_path / "killed"
    for kill in range(3):
        process = commands.start(commands.again(killed) if kill else [*words, "-o", str(killed)])
        known = commands.steps_of(killed)
        commands.killed_when(process, lambda known=known: commands.steps_of(killed) >= known + 23)
    assert main(commands.again(killed)) == 0
    assert commands.sha256(killed) == commands.sha256(tmp_path / "whole")
    assert commands.metrics(killed) == commands.metrics(tmp_path / "whole")


def test_a_fit_ends_by_itself_when_it_has_converged_and_is_then_finished(table, tmp_path):
    begun = fitted(table, tmp_path / "run", WHOLE, steps=500, until_converged=True)
    assert begun.learner.converged
    assert begun.finished
    assert 1 < begun.learner.step < 500
    last = commands.metrics(begun.folder)[-1]
    assert (last["step"], "held_out_nats_per_row" in last) == (begun.learner.step, True)
    again = resuming.resume(begun.folder, device="cpu")
    assert again.finished
    assert list(run.steps(again)) == []
    assert checkpoint.newest(begun.folder).notes["converged"] is True


def test_a_fit_whose_steps_are_done_before_it_has_converged_says_so(table, tmp_path, capsys):
    words = ["train", "gmm", "--data", str(table), "--device", "cpu", "--quiet", *OVERLAPPING[:2]]
    assert main([*words, "--steps", "2", "-o", str(tmp_path / "short")]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "warning: the fit has not converged after 2 steps: give it more, such as plan.steps=4, "
        "or a larger config.tolerance"
    ]
    assert ": 2 steps, not converged, held out" in said.out
    assert main([*words, "--steps", "500", "-o", str(tmp_path / "long")]) == 0
    said = capsys.readouterr()
    assert (said.err, ", converged, held out" in said.out) == ("", True)
    network = GMM(GMMConfig(2, 3))
    with pytest.warns(zoo.errors.ZooWarning, match="has not converged after 1 step:"):
        list(zoo.train(network, blobs(), FitPlan(steps=1), device="cpu"))
    list(zoo.train(network, blobs(), FitPlan(steps=1, until_converged=False), device="cpu"))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_from_python_a_row_that_is_not_finite_is_refused_before_the_first_step(bad):
    rows = blobs()
    rows[7, 1] = bad
    with pytest.raises(DataError, match=rf"row 7, column 1 \(from 0\) is {bad}, not a finite number"):
        zoo.train(GMM(GMMConfig(2, 3)), rows, device="cpu")


def test_the_plan_decides_whether_convergence_ends_a_fit(table, tmp_path):
    begun = fitted(table, tmp_path / "run", {**WHOLE, "tolerance": 1.0}, steps=12)
    assert begun.learner.step == 12


def test_the_weights_kept_are_those_that_are_best_on_what_was_held_out(table, tmp_path):
    begun = fitted(table, tmp_path / "run", {**WHOLE, "start": "random"}, steps=30, evaluate_every=1)
    measured = [line["held_out_nats_per_row"] for line in commands.metrics(begun.folder)]
    assert begun.best == min(measured)
    kept = read_header(begun.folder / "model.safetensors").metadata["step"]
    assert int(kept) == 1 + measured.index(min(measured))


def test_weights_are_kept_in_the_precision_they_were_fitted_in(table, tmp_path):
    for precision, stored in (("float64", "F64"), ("float32", "F32")):
        begun = fitted(table, tmp_path / precision, {**WHOLE, "precision": precision}, steps=2)
        header = read_header(begun.folder / "model.safetensors")
        assert {info.dtype for info in header.tensors.values()} == {stored}
    small = fitted(table, tmp_path / "small", WHOLE, steps=2, save_dtype="float16")
    header = read_header(small.folder / "model.safetensors")
    assert {info.dtype for info in header.tensors.values()} == {"F16"}


def test_the_weights_say_what_model_they_are_and_how_it_was_made(table, tmp_path):
    begun = fitted(table, tmp_path / "run", WHOLE, steps=2)
    said = zoo_metadata(begun.folder / "model.safetensors")
    assert (said.family, said.plugin, said.config["columns"]) == ("gmm", "zoo-classic", 2)
    recipe = json.loads(read_header(begun.folder / "model.safetensors").metadata["recipe"])
    assert recipe["plan"]["until_converged"] is False
    assert "learning_rate" not in recipe["plan"]
    assert recipe["data"]["source"] == "rows.csv"


def test_a_fit_goes_on_from_another_runs_model(table, tmp_path):
    first = fitted(table, tmp_path / "first", WHOLE, steps=3, evaluate_every=0)
    wanted = Recipe(str(first.folder), {}, str(table), plan={"steps": 1, "until_converged": False})
    second = done(run.begin(wanted, tmp_path / "second", device="cpu"))
    three = fitted(table, tmp_path / "four", WHOLE, steps=4)
    assert second.learner.network.means.dtype == torch.float64
    assert torch.allclose(second.learner.network.means, three.learner.network.means, rtol=1e-9)


def test_a_run_that_belongs_to_another_model_is_refused(table, tmp_path):
    fitted(table, tmp_path / "run", WHOLE, steps=2)
    stored = checkpoint.read(checkpoint.newest(tmp_path / "run"))
    other = Fitter(GMM(GMMConfig(2, 4)), FitPlan())
    with pytest.raises(TrainingError, match="of another model: weights does not fit"):
        other.restore(stored, 2, {})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("plan.learning_rate=1", "there is no setting 'learning_rate'; allowed: steps, epochs"),
        ("plan.step=1", "did you mean 'steps'"),
        ("config.component=4", "did you mean 'components'"),
        ("config.covariance=round", "must be one of full, tied, diagonal, spherical"),
        ("config.components=0", "must be at least 1"),
        ("data.column=x", "did you mean 'columns'"),
    ],
)
def test_settings_that_a_fit_does_not_have_are_refused_before_anything_is_written(
    table, tmp_path, capsys, change, said
):
    words = ["train", "gmm", "--data", str(table), "-o", str(tmp_path / "run"), "--set", change]
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("more", [[], ["--set", "config.batch_rows=50"]], ids=["whole", "batches"])
def test_two_processes_fit_the_model_that_one_fits_and_are_resumed_to_the_same_bits(table, tmp_path, more):
    words = ["train", "gmm", "--data", str(table), "--device", "cpu", *OVERLAPPING, *more]
    words += ["--steps", "6", "--set", "plan.checkpoint_every=2", "--set", "plan.keep=9"]
    one, two = tmp_path / "one", tmp_path / "two"
    assert main([*words, "--quiet", "-o", str(one)]) == 0
    code, out, err = commands.done([*words, "--quiet", "-o", str(two), "--processes", "2"])
    assert (code, err, out.count("\n")) == (0, "", 1)
    first, second = (commands.metrics(folder) for folder in (one, two))
    for ours, theirs in zip(first, second, strict=True):
        assert theirs["log_likelihood"] == pytest.approx(ours["log_likelihood"], rel=1e-10)
    stopped = tmp_path / "stopped"
    assert commands.done([*words, "-o", str(stopped), "--processes", "2"])[0] == 0
    for path in (stopped / "checkpoints").glob("step-0000000[46]"):
        for part in path.iterdir():
            part.unlink()
        path.rmdir()
    (stopped / "model.safetensors").unlink()
    assert commands.done([*commands.again(stopped), "--processes", "2"])[0] == 0
    assert commands.last_checkpoint(stopped) == commands.last_checkpoint(two)


def test_from_python_a_module_is_fitted_to_an_array(table):
    rows = blobs()
    network = GMM(GMMConfig(2, 3))
    steps = list(zoo.train(network, rows, zoo.FitPlan(steps=5, until_converged=False), device="cpu"))
    by_hand, told = fit_by_hand(WHOLE, rows, 5)
    assert [step.loss for step in steps] == told
    assert torch.equal(network.means, by_hand.means)
    assert (steps[-1].final, steps[-1].unit, steps[-1].epoch) == (True, "rows", 5.0)
    assert steps[0].learning_rate is None


def test_from_python_a_fitted_run_is_fitted_further_by_name(table, tmp_path):
    fitted(table, tmp_path / "run", WHOLE, steps=2)
    model = zoo.load(str(tmp_path / "run"), device="cpu")
    steps = list(zoo.train(model, str(table), zoo.FitPlan(steps=3, until_converged=False), device="cpu"))
    assert len(steps) == 3
    assert "held_out_nats_per_row" in steps[-1].results


def test_a_plan_of_the_other_kind_is_refused(table):
    with pytest.raises(UsageError, match="the plan is a Plan, but GMM takes a FitPlan"):
        next(zoo.train(GMM(GMMConfig(2, 3)), blobs(), Plan(steps=2)))
    network = torch.nn.Linear(1, 1)
    network.loss = lambda *_: None
    with pytest.raises(UsageError, match="the plan is a FitPlan, but Linear takes a Plan"):
        next(zoo.train(network, blobs(), FitPlan()))


def test_a_log_likelihood_that_is_not_finite_stops_the_fit_before_it_counts():
    class Broken(torch.nn.Linear):
        def fit(self, data, noise, state):
            yield {"log_likelihood": 1.0}
            yield {"log_likelihood": float("nan")}

    fitter = Fitter(Broken(1, 1), FitPlan(steps=5))
    steps = fit(fitter, RowPasses(blobs()))
    assert next(steps).loss == 1.0
    with pytest.raises(TrainingError, match="step 2: log likelihood is nan"):
        next(steps)
    assert fitter.step == 1


def test_a_family_whose_module_cannot_do_what_its_plan_says_is_refused(monkeypatch):
    from dataclasses import replace

    from zoo.training import start

    found = start.find("gmm")
    odd = replace(found, family=replace(found.family, plan="zoo.training.plan:Plan"))
    with pytest.raises(CapabilityError, match="the family gmm has no loss"):
        start.network(odd, GMMConfig(2), 0)


def test_epochs_of_batches_are_counted_in_batches(table, tmp_path):
    begun = begin(table, tmp_path / "run", {"components": 2, "batch_rows": 50}, epochs=2.5)
    assert begun.rows.rows == 285
    assert (begun.plan.steps, begun.plan.epochs) == (15, None)  # six batches a pass


def test_pictures_of_a_run_say_what_a_fit_plans_and_shows(table, tmp_path, capsys):
    words = ["train", "gmm", "--data", str(table), "-o", str(tmp_path / "run"), "--device", "cpu"]
    assert main([*words, "--set", "config.components=3", "--steps", "400"]) == 0
    told = capsys.readouterr()
    assert "; at most 400 steps, 400 times through the data" in told.err
    assert "reseeded" not in told.err
    assert ", converged, held out nats per row " in told.out


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty sequences of letters in which vowels and consonants take turns."""
    random = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("text") / "lines.txt"
    words = ("".join(random.choice(list(part)) for part in ("ae", "bcd") * 12) for _ in range(30))
    path.write_text("\n".join(words), encoding="utf-8")
    return path


def chain(lines: Path, folder: Path) -> run.Run:
    plan = {"steps": 6, "checkpoint_every": 1, "evaluate_every": 2, "until_converged": False}
    wanted = Recipe("hmm", {"states": 2}, str(lines), {"split": "lines"}, plan)
    return run.begin(wanted, folder, device="cpu")


def test_a_chain_stopped_after_any_step_goes_on_to_the_same_bits(lines, tmp_path):
    whole = done(chain(lines, tmp_path / "whole"))
    for at in range(1, 6):
        folder = tmp_path / f"stopped-{at}"
        done(chain(lines, folder), at)
        done(resuming.resume(folder, device="cpu"))
        assert commands.sha256(folder) == commands.sha256(whole.folder)
        assert commands.last_checkpoint(folder) == commands.last_checkpoint(whole.folder)
        assert commands.metrics(folder) == commands.metrics(whole.folder)


def test_a_chain_of_two_processes_is_that_of_one(lines, tmp_path):
    words = ["train", "hmm", "--data", str(lines), "--set", "config.states=2", "--set", "data.split=lines"]
    words += ["--set", "plan.until_converged=false", "--steps", "5", "--device", "cpu", "--quiet"]
    one, two = tmp_path / "one", tmp_path / "two"
    assert main([*words, "-o", str(one)]) == 0
    code, _, err = commands.done([*words, "-o", str(two), "--processes", "2"])
    assert (code, err) == (0, "")
    for ours, theirs in zip(commands.metrics(one), commands.metrics(two), strict=True):
        assert theirs["per_frame"] == pytest.approx(ours["per_frame"], rel=1e-10)


def test_a_setting_that_the_data_decides_otherwise_is_refused(lines, tmp_path):
    wanted = Recipe("hmm", {"emissions": "gaussian"}, str(lines), {"split": "lines"})
    with pytest.raises(
        UsageError, match=r"config\.emissions is 'gaussian', but .* decides that it is 'categ"
    ):
        run.begin(wanted, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_measure_that_is_infinite_is_null_in_the_metrics(lines, tmp_path):
    """What was held out has a letter that nothing else has, so it is impossible under the model."""
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "held.txt").write_text("abzab", encoding="utf-8")
    (folder / "seen.txt").write_text(lines.read_text(encoding="utf-8"), encoding="utf-8")
    plan = {"steps": 1, "until_converged": False}
    wanted = Recipe("hmm", {"states": 2}, str(folder), {"held_out": ("held",)}, plan)
    begun = run.begin(wanted, tmp_path / "run", device="cpu")
    with pytest.warns(zoo.errors.ZooWarning, match="impossible"):
        done(begun)
    [line] = commands.metrics(begun.folder)
    assert line["held_out_bits_per_symbol"] is None
    assert (begun.folder / "model.safetensors").is_file()


def test_from_python_a_run_is_fitted_to_rows_in_the_units_of_its_data(table, tmp_path):
    begun = begin(table, tmp_path / "run", WHOLE, steps=2)
    fitted_further = zoo.load(str(done(begun).folder), device="cpu")
    scaled = tmp_path / "scaled"
    wanted = Recipe("gmm", WHOLE, str(table), data={"standardise": True}, plan={"steps": 2})
    standardised = zoo.load(str(done(run.begin(wanted, scaled, device="cpu")).folder), device="cpu")
    plan = zoo.FitPlan(steps=30, until_converged=False)
    found = []
    for model in (fitted_further, standardised):
        list(zoo.train(model, blobs(), plan, device="cpu"))
        found.append(np.mean(model.log_prob(blobs())))
    assert found[0] == pytest.approx(found[1], abs=0.01)


def test_from_python_a_chain_is_fitted_to_what_it_scores(lines, tmp_path):
    model = zoo.load(str(done(chain(lines, tmp_path / "run")).folder), device="cpu")
    texts = ["".join(model.format.symbols)] * 3
    before = sum(model.log_prob(texts))
    with pytest.warns(
        zoo.errors.ZooWarning,
        match="not converged after 3 steps: give it more, such as plan.steps=6",
    ):
        list(zoo.train(model, texts, zoo.FitPlan(steps=3), device="cpu"))
    assert sum(model.log_prob(texts)) > before
    with pytest.raises(UsageError, match="data is a list, but must be rows"):
        next(zoo.train(model.network, texts, device="cpu"))
    with pytest.raises(DataError, match="a mapping of values and lengths, but this is a Tensor"):
        next(zoo.train(model.network, np.zeros((3, 2)), device="cpu"))


@pytest.mark.parametrize("shape", [(5,), (5, 2, 2)])
def test_from_python_an_array_that_is_no_table_is_refused(shape):
    with pytest.raises(UsageError, match="but must be rows"):
        next(zoo.train(GMM(GMMConfig(2, 3)), np.zeros(shape), device="cpu"))


@pytest.mark.parametrize("window", [None, 3])
def test_a_frame_that_cannot_be_emitted_is_named_as_it_stands_in_the_file(tmp_path, window):
    """Sequences are gone through longest first, some are held out, and they may be cut into pieces."""
    path = tmp_path / "counts.csv"
    lengths = (2, 9, 5, 7)
    rows = [f"{name},{time % 3}" for name, length in enumerate(lengths) for time in range(length)]
    rows[2 + 9 + 4] = "2,-1"
    path.write_text("\n".join(["sequence,count", *rows]), encoding="utf-8")
    rules = {"held_out": ("0",), "window": window}
    wanted = Recipe("hmm", {"states": 2, "emissions": "poisson"}, str(path), rules)
    begun = run.begin(wanted, tmp_path / "run", device="cpu")
    with pytest.raises(zoo.errors.DataError, match="sequence 2, frame 4 is -1, but"):
        next(run.steps(begun))


def test_the_newest_weights_are_kept_where_the_plan_says_so(table, tmp_path):
    plan = {"steps": 30, "evaluate_every": 1, "keep_best": False}
    begun = fitted(table, tmp_path / "run", {**WHOLE, "start": "random"}, **plan)
    assert read_header(begun.folder / "model.safetensors").metadata["step"] == "30"
    again = resuming.resume(begun.folder, device="cpu")
    measured = [line["held_out_nats_per_row"] for line in commands.metrics(begun.folder)]
    assert (again.best, again.best_step) == (min(measured), 1 + measured.index(min(measured)))


def test_the_command_says_which_step_was_best(table, tmp_path, capsys):
    words = ["train", "gmm", "--data", str(table), "-o", str(tmp_path / "run"), "--device", "cpu", "-q"]
    words += ["--set", "config.components=20", "--set", "plan.evaluate_every=1", "--steps", "30"]
    assert main([*words, "--set", "plan.until_converged=false"]) == 0
    told = capsys.readouterr().out
    measured = [line["held_out_nats_per_row"] for line in commands.metrics(tmp_path / "run")]
    best = 1 + measured.index(min(measured))
    assert best < 30
    assert told.endswith(f"{min(measured):.4f} after step {best}\n")


def test_a_run_that_fails_before_its_first_step_leaves_no_folder(tmp_path, capsys):
    path = tmp_path / "few.csv"
    path.write_text("x,y\n1,2\n2,1\n3,5\n", encoding="utf-8")
    words = ["train", "gmm", "--data", str(path), "-o", str(tmp_path / "run"), "--set", "config.components=8"]
    for _ in range(2):
        assert main(words) == 1
        assert "too few for 8 components" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_weights_of_another_shape_than_asked_for_are_refused_by_the_setting(table, tmp_path):
    first = fitted(table, tmp_path / "first", WHOLE, steps=1)
    wanted = Recipe(str(first.folder), {"components": 5}, str(table))
    with pytest.raises(UsageError, match=r"another shape than config\.components=5 makes; there it is 3"):
        run.begin(wanted, tmp_path / "second", device="cpu")
    assert not (tmp_path / "second").exists()
