"""Runs of the smallest GPT-2: the folder, held-out text, resuming, starting from another model."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
import safetensors.torch
import torch
from tokenizers import Tokenizer

from zoo import api
from zoo.errors import CapabilityError, DataError, PluginError, TrainingError, UnknownModelError, UsageError
from zoo.evaluation.text import bits_per_byte
from zoo.family import Family
from zoo.training import checkpoint, outputs, recipe, resuming, run, start
from zoo.training.folder import LOCK
from zoo.training.recipe import Recipe
from zoo.weights.tensors import read_header, zoo_metadata

SMALL = Recipe(
    "gpt2",
    {"context": 16, "layers": 1, "width": 16, "heads": 2, "dropout": 0.1},
    data={"vocabulary": 300, "held_out": ("birch",)},
    plan={
        "steps": 6,
        "batch_size": 2,
        "warmup": 1,
        "learning_rate": 0.03,
        "average": 0.5,
        "evaluate_every": 2,
        "checkpoint_every": 3,
    },
)
BITS = "held_out_bits_per_byte"

pytestmark = pytest.mark.usefixtures("one_thread")


def changed(**plan):
    return dataclasses.replace(SMALL, plan={**SMALL.plan, **plan})


def with_data(**rules):
    return dataclasses.replace(SMALL, data={"vocabulary": 300, **rules})


def begin(wanted, works, folder, **given):
    return run.begin(dataclasses.replace(wanted, source=str(works)), folder, device="cpu", **given)


def resume(folder, **given):
    return resuming.resume(folder, device="cpu", **given)


def trained(wanted, works, folder):
    """The run after all its steps, and the steps."""
    begun = begin(wanted, works, folder)
    return begun, list(run.steps(begun))


def checkpoints(folder):
    return sorted(path.name for path in (folder / checkpoint.FOLDER).iterdir())


def tensors(folder: Path, name: str = outputs.WEIGHTS):
    return safetensors.torch.load_file(folder / name)


def losses(folder: Path):
    lines = [json.loads(line) for line in (folder / outputs.METRICS).read_text(encoding="utf-8").splitlines()]
    return [(line["step"], line["loss"], line.get(BITS)) for line in lines]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, one_thread):
    """One run for the tests that only look at it: (its works, the run, its steps)."""
    works = tmp_path_factory.mktemp("works")
    for name in ("ash", "birch", "cedar"):
        text = "".join(
            f"{name.upper()}:\nThe {name} tree counts {number} rings tonight.\n" for number in range(20)
        )
        (works / f"{name}.txt").write_text(text, encoding="utf-8")
    wanted = changed(
        steps=40, learning_rate=0.01, evaluate_every=10, checkpoint_every=20, save_dtype="float16"
    )
    return works, *trained(wanted, works, tmp_path_factory.mktemp("run"))


def test_training_lowers_the_loss_and_the_held_out_bits(finished, tmp_path):
    works, begun, steps = finished
    assert [step.step for step in steps] == list(range(1, 41))
    assert steps[-1].loss < 0.7 * steps[0].loss
    assert begun.best == min(step.results[BITS] for step in steps if step.results)
    untrained = begin(begun.recipe, works, tmp_path / "untrained")
    at_first = untrained.material.evaluate(untrained.learner.network.eval())[BITS]
    assert begun.best < 0.9 * at_first


def test_a_run_folder_is_a_model_that_samples(finished):
    _, begun, _ = finished
    model = api.load(str(begun.folder), device="cpu")
    texts = list(model.sample("ASH:", count=2, seed=1, max_tokens=8))
    assert len(texts) == 2
    assert all(text.startswith("ASH:") and len(text) > 4 for text in texts)
    assert model.config == begun.config
    assert model.config.vocabulary == model.tokenizer.vocabulary == 300


def test_the_weights_in_the_folder_are_those_that_were_measured_but_for_float16(finished):
    works, begun, _ = finished
    header = read_header(begun.folder / outputs.WEIGHTS)
    assert {tensor.dtype for tensor in header.tensors.values()} == {"F16"}
    said = zoo_metadata(begun.folder / outputs.WEIGHTS)
    assert (said.plugin, said.family) == ("zoo-gpt", "gpt2")
    model = api.load(str(begun.folder), device="cpu")
    held_out = (works / "birch.txt").read_text(encoding="utf-8")
    found = bits_per_byte(model.network, model.tokenizer, [held_out])
    assert found.per_byte == pytest.approx(begun.best, rel=2e-3)
    assert found.bytes == len(held_out)


def test_held_out_text_is_neither_in_the_batches_nor_in_the_vocabulary(works, tmp_path):
    begun = begin(SMALL, works, tmp_path / "one")
    rows = begun.rows.rows(0, begun.rows.epoch)
    vocabulary = Tokenizer.from_file(str(begun.folder / "tokenizer.json"))
    text = vocabulary.decode(rows[:, 1:].flatten().tolist())
    assert "birch" not in text
    assert "cedar" in text
    (works / "birch.txt").write_text("birchbark canoe\n" * 50)
    again = begin(SMALL, works, tmp_path / "another")
    assert again.rows.fingerprint == begun.rows.fingerprint
    assert (again.folder / "tokenizer.json").read_bytes() == (begun.folder / "tokenizer.json").read_bytes()


def test_the_metrics_have_a_line_a_step(finished):
    _, begun, steps = finished
    written = losses(begun.folder)
    assert written == [(step.step, step.loss, step.results.get(BITS)) for step in steps]
    assert [number for number, _, measured in written if measured] == [10, 20, 30, 40]


def test_the_folders_recipe_says_everything_and_makes_the_same_run_again(finished, tmp_path):
    works, begun, _ = finished
    said = recipe.read(begun.folder / run.RECIPE)
    assert said == begun.recipe
    assert said.config["vocabulary"] == 300
    again, _ = trained(said, works, tmp_path / "again")
    assert same(tensors(again.folder), tensors(begun.folder))


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(works, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(len(name))
        trained(changed(seed=seed), works, tmp_path / name)
    assert same(tensors(tmp_path / "a"), tensors(tmp_path / "b"))
    assert not same(tensors(tmp_path / "a"), tensors(tmp_path / "c"))


@pytest.mark.parametrize("stopped_after", [3, 4, 5])
def test_a_stopped_run_goes_on_to_the_same_weights(works, tmp_path, stopped_after):
    whole, _ = trained(SMALL, works, tmp_path / "whole")
    begun = begin(SMALL, works, tmp_path / "stopped")
    steps = run.steps(begun)
    for _ in range(stopped_after):
        next(steps)
    steps.close()
    resumed = resume(tmp_path / "stopped")
    assert resumed.learner.step == 3
    assert [step.step for step in run.steps(resumed)] == [4, 5, 6]
    names = [
        outputs.WEIGHTS,
        *(f"checkpoints/step-00000006/{name}" for name in (outputs.WEIGHTS, "training.safetensors")),
    ]
    for name in names:
        assert (resumed.folder / name).read_bytes() == (whole.folder / name).read_bytes(), name
    assert losses(resumed.folder) == losses(whole.folder)
    assert (resumed.best, resumed.measure) == (whole.best, BITS)


def test_the_best_weights_stay_when_later_ones_are_worse(works, tmp_path, monkeypatch):
    measured = iter([3.0, 2.0, 2.5])
    begun = begin(SMALL, works, tmp_path / "run")
    monkeypatch.setattr(begun.material, "evaluate", lambda network: {BITS: next(measured)})
    kept = {}
    for step in run.steps(begun):
        kept[step.step] = tensors(begun.folder) if step.step > 1 else {}
    assert not same(kept[2], kept[4])
    assert same(kept[4], kept[6])
    assert begun.best == 2.0


def test_a_measure_that_is_not_a_number_is_never_the_best(works, tmp_path, monkeypatch):
    measured = iter([math.nan, 2.0, math.nan])
    begun = begin(SMALL, works, tmp_path / "run")
    monkeypatch.setattr(begun.material, "evaluate", lambda network: {BITS: next(measured)})
    kept = [tensors(begun.folder) if step.step >= 4 else {} for step in run.steps(begun)]
    assert same(kept[3], kept[5])
    assert begun.best == 2.0
    assert resume(begun.folder).best == 2.0


def test_a_run_never_measured_as_a_number_leaves_its_last_weights(works, tmp_path, monkeypatch):
    begun = begin(changed(checkpoint_every=0), works, tmp_path / "run")
    monkeypatch.setattr(begun.material, "evaluate", lambda network: {BITS: math.nan})
    for step in run.steps(begun):
        assert (begun.folder / outputs.WEIGHTS).is_file() == (step.step == 6)
    with begun.learner.result() as network:
        assert same(tensors(begun.folder), dict(network.named_parameters()))


def test_a_checkpoint_between_measurements_leaves_the_best_weights_alone(works, tmp_path, monkeypatch):
    measured = iter([1.0, 2.0])
    begun = begin(changed(evaluate_every=3, checkpoint_every=2), works, tmp_path / "run")
    monkeypatch.setattr(begun.material, "evaluate", lambda network: {BITS: next(measured)})
    kept = [tensors(begun.folder) if step.step >= 2 else {} for step in run.steps(begun)]
    assert not same(kept[1], kept[2])
    assert same(kept[2], kept[3])
    assert same(kept[2], kept[5])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_weights_are_saved_in_the_plans_dtype_and_go_on_in_float32(works, tmp_path, dtype):
    begun, _ = trained(changed(save_dtype=dtype, steps=3, evaluate_every=0), works, tmp_path / "run")
    kind = getattr(torch, dtype)
    with begun.learner.result() as network:
        for name, tensor in tensors(begun.folder).items():
            assert torch.equal(tensor, network.state_dict()[name].to(kind))
    exact = tensors(begun.folder / checkpoint.FOLDER / "step-00000003")
    assert {tensor.dtype for tensor in exact.values()} == {torch.float32}


def test_the_newest_checkpoints_and_the_best_are_kept(works, tmp_path, monkeypatch):
    measured = iter([3.0, 1.0, 2.0, 2.5, 2.2, 2.1])
    begun = begin(changed(checkpoint_every=1, evaluate_every=1, keep=2), works, tmp_path / "run")
    monkeypatch.setattr(begun.material, "evaluate", lambda network: {BITS: next(measured)})
    list(run.steps(begun))
    assert checkpoints(begun.folder) == ["step-00000002", "step-00000005", "step-00000006"]


def test_a_checkpoint_is_a_model_and_names_no_folder_of_the_machine(works, tmp_path):
    begun, _ = trained(changed(steps=3), works, tmp_path / "run")
    folder = begun.folder / checkpoint.FOLDER / "step-00000003"
    assert zoo_metadata(folder / outputs.WEIGHTS).family == "gpt2"
    assert str(tmp_path).encode() not in b"".join(path.read_bytes() for path in folder.iterdir())
    assert str(tmp_path).encode() not in (begun.folder / outputs.WEIGHTS).read_bytes()


def test_previews_are_drawn_when_due_and_change_nothing(works, tmp_path):
    plain, _ = trained(SMALL, works, tmp_path / "plain")
    drawn, _ = trained(changed(preview_every=4, previews=3), works, tmp_path / "drawn")
    previews = sorted((drawn.folder / outputs.PREVIEWS).iterdir())
    assert [path.name for path in previews] == ["step-00000004.txt", "step-00000006.txt"]
    assert all(path.read_text().count("=== sample ") == 3 for path in previews)
    assert same(tensors(drawn.folder), tensors(plain.folder))
    assert not (plain.folder / outputs.PREVIEWS).exists()


def test_epochs_are_written_down_as_the_steps_they_are(works, tmp_path):
    begun = begin(changed(epochs=0.5), works, tmp_path / "run")
    plan = recipe.read(begun.folder / run.RECIPE).plan
    assert (plan["steps"], plan["epochs"]) == (math.ceil(0.25 * begun.rows.epoch), None)
    assert begun.epochs == pytest.approx(0.5, abs=1 / begun.rows.epoch)


def test_bfloat16_products_train_a_network_to_nearly_the_same(works, tmp_path):
    exact, _ = trained(SMALL, works, tmp_path / "exact")
    rough, _ = trained(changed(precision="bfloat16"), works, tmp_path / "rough")
    assert rough.best == pytest.approx(exact.best, rel=0.02)
    assert not same(tensors(rough.folder), tensors(exact.folder))
    assert {tensor.dtype for tensor in tensors(rough.folder).values()} == {torch.float32}


def test_with_nothing_held_out_the_newest_weights_are_kept(works, tmp_path):
    begun, steps = trained(with_data(held_out_share=0.0), works, tmp_path / "run")
    assert not any(step.results for step in steps)
    with begun.learner.result() as network:
        averaged = {name: tensor.detach().clone() for name, tensor in network.named_parameters()}
    assert same(tensors(begun.folder), averaged)
    assert not same(averaged, dict(begun.learner.network.named_parameters()))


def test_a_loss_that_is_not_finite_leaves_the_folder_as_it_was(works, tmp_path):
    begun = begin(SMALL, works, tmp_path / "run")
    steps = run.steps(begun)
    for _ in range(4):
        next(steps)
    before = contents(begun.folder)
    with torch.no_grad():
        begun.learner.network.norm.weight.fill_(torch.nan)
    with pytest.raises(TrainingError, match=r"step 5: loss nan.* at learning rate .*, on rows 8 to 9"):
        next(steps)
    assert contents(begun.folder) == before


def contents(folder):
    """Every file, but for the lock of who writes."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != LOCK)
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_training_goes_on_from_another_runs_weights_and_tokenizer(finished, tmp_path):
    works, begun, _ = finished
    wanted = Recipe(
        str(begun.folder),
        {"dropout": 0.2},
        data=SMALL.data,
        plan={"steps": 1, "batch_size": 2, "learning_rate": 1e-9},
    )
    again, _ = trained(wanted, works, tmp_path / "again")
    assert again.config.dropout == 0.2
    assert again.config.layers == 1
    assert (again.folder / "tokenizer.json").read_bytes() == (begun.folder / "tokenizer.json").read_bytes()
    before, after = tensors(begun.folder), tensors(again.folder)
    for name, tensor in after.items():
        torch.testing.assert_close(tensor, before[name].float(), rtol=0, atol=1e-6)


def test_a_model_without_weights_is_begun_anew_with_its_config():
    found = start.find("gpt3-small")
    assert found.model is None
    assert found.config["width"] == 768


def test_windows_may_be_shorter_than_the_context_but_not_longer(works, tmp_path):
    assert begin(with_data(window=4), works, tmp_path / "a").rows.rows(0, 2).shape == (2, 5)
    with pytest.raises(UsageError, match=r"data\.window is 17, but the network's context is 16 tokens"):
        begin(with_data(window=17), works, tmp_path / "b")


def test_a_folder_with_something_in_it_is_not_written_into(works, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "letters.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not an empty folder"):
        begin(SMALL, works, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["letters.txt"]


def test_a_config_that_cannot_be_leaves_no_folder(works, tmp_path):
    wanted = dataclasses.replace(SMALL, config={"layer": 1})
    with pytest.raises(UsageError, match="there is no setting 'layer'; did you mean 'layers'"):
        begin(wanted, works, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("there", [True, False])
def test_a_run_that_cannot_begin_leaves_the_folder_as_it_was(works, tmp_path, there):
    folder = tmp_path / "run"
    if there:
        folder.mkdir()
    wide = {**SMALL.config, "context": 100_000}
    with pytest.raises(DataError, match="tokens") as raised:
        begin(dataclasses.replace(SMALL, config=wide), works, folder)
    assert folder.exists() == there
    assert "--set data.window=" in raised.value.hint
    window = int(raised.value.hint.rpartition("=")[2])
    shorter = dataclasses.replace(with_data(window=window), config=wide)
    assert begin(shorter, works, folder).rows.units == window


def test_a_run_stopped_before_its_first_checkpoint_is_resumed_from_the_start(works, tmp_path):
    whole, _ = trained(SMALL, works, tmp_path / "whole")
    begun = begin(SMALL, works, tmp_path / "stopped")
    steps = run.steps(begun)
    next(steps), next(steps)
    steps.close()
    with pytest.raises(UsageError) as raised:
        begin(SMALL, works, tmp_path / "stopped")
    assert raised.value.hint == "go on there with --resume, give it up with --force, or name another"
    resumed = resume(tmp_path / "stopped")
    assert [step.step for step in run.steps(resumed)] == [1, 2, 3, 4, 5, 6]
    assert same(tensors(whole.folder), tensors(resumed.folder))
    assert losses(resumed.folder) == losses(whole.folder)


def test_a_run_without_checkpoints_is_not_resumed_over_its_weights(works, tmp_path):
    trained(changed(checkpoint_every=0), works, tmp_path / "run")
    with pytest.raises(
        TrainingError, match=r"keeps no checkpoints to go on from: its plan\.checkpoint_every is 0"
    ):
        resume(tmp_path / "run")


def test_only_the_files_that_its_family_reads_of_a_start_are_copied(finished, tmp_path):
    _, begun, _ = finished
    model = tmp_path / "model"
    model.mkdir()
    for name in (outputs.WEIGHTS, "tokenizer.json"):
        (model / name).write_bytes((begun.folder / name).read_bytes())
    for name in ("pytorch_model.bin", "pytorch_model.bin.index.json", "notes.md", "chat_template.jinja"):
        (model / name).write_text("{}")
    (model / "vocab.txt").write_text("private")
    files = start.companions(start.find(str(model)))
    assert sorted(files) == ["chat_template.jinja", "tokenizer.json"]


def test_resuming_needs_a_run_and_the_same_text(works, tmp_path):
    with pytest.raises(TrainingError, match=r"has no recipe\.yaml, so there is no run to go on with"):
        resume(tmp_path / "absent")
    trained(SMALL, works, tmp_path / "run")
    (works / "ash.txt").write_text((works / "ash.txt").read_text() + "One line more.\n")
    with pytest.raises(TrainingError, match="is not the data that"):
        resume(tmp_path / "run")


def test_an_unknown_start_suggests_the_nearest():
    with pytest.raises(UnknownModelError, match="there is no family 'gpt2-smal', and"):
        start.find("gpt2-smal")


def test_a_family_of_two_plugins_or_of_another_modality_is_refused(works, tmp_path, monkeypatch):
    twins = (("one", Family("twin", "text", "", "", "")), ("two", Family("twin", "text", "", "", "")))
    monkeypatch.setattr(start.plugins, "all_families", lambda: twins)
    with pytest.raises(PluginError, match="one and two each bring a family 'twin'"):
        start.find("twin")
    smells = Family("roses", "smell", "", "", "")
    monkeypatch.setattr(start.plugins, "all_families", lambda: (("one", smells),))
    with pytest.raises(CapabilityError, match="there is no training on data of the modality 'smell'"):
        begin(Recipe("roses"), works, tmp_path / "run")
