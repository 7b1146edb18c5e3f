"""Runs of the smallest GPT-2: the folder, held-out text, resuming, starting from another model."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from zoo import api
from zoo.datasets.text import DataRules
from zoo.errors import CapabilityError, DataError, PluginError, TrainingError, UnknownModelError, UsageError
from zoo.evaluation.text import bits_per_byte
from zoo.family import Family
from zoo.training import checkpoint, recipe, run, start
from zoo.training.loop import Learner
from zoo.training.plan import Plan
from zoo.training.recipe import Recipe
from zoo.weights.tensors import read_header, zoo_metadata

SMALL = Recipe(
    "gpt2",
    {"context": 16, "layers": 1, "width": 16, "heads": 2, "dropout": 0.1},
    DataRules(vocabulary=300, held_out=("birch",)),
    Plan(
        steps=6, batch_size=2, warmup=1, learning_rate=0.03, average=0.5, evaluate_every=2, checkpoint_every=3
    ),
)

pytestmark = pytest.mark.usefixtures("one_thread")


def changed(**plan):
    return Recipe(SMALL.start, SMALL.config, SMALL.data, Plan(**{**vars(SMALL.plan), **plan}))


def trained(wanted, works, folder):
    """The run after all its steps, and the steps."""
    begun = run.begin(wanted, works, folder)
    return begun, list(run.steps(begun, device="cpu"))


def tensors(folder: Path, name: str = run.WEIGHTS):
    return safetensors.torch.load_file(folder / name)


def losses(folder: Path):
    lines = [json.loads(line) for line in (folder / run.METRICS).read_text(encoding="utf-8").splitlines()]
    return [(line["step"], line["loss"], line.get(run.BITS)) for line in lines]


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
    assert begun.best == min(step.results[run.BITS] for step in steps if step.results)
    untrained = run.begin(begun.recipe, works, tmp_path / "untrained")
    held_out = [document.text for document in untrained.split.held_out]
    at_first = bits_per_byte(untrained.learner.network.eval(), untrained.tokenizer, held_out)
    assert begun.best < 0.9 * at_first.per_byte


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
    header = read_header(begun.folder / run.WEIGHTS)
    assert {tensor.dtype for tensor in header.tensors.values()} == {"F16"}
    said = zoo_metadata(begun.folder / run.WEIGHTS)
    assert (said.plugin, said.family) == ("zoo-gpt", "gpt2")
    model = api.load(str(begun.folder), device="cpu")
    held_out = (works / "birch.txt").read_text(encoding="utf-8")
    found = bits_per_byte(model.network, model.tokenizer, [held_out])
    assert found.per_byte == pytest.approx(begun.best, rel=2e-3)
    assert found.bytes == len(held_out)


def test_held_out_text_is_neither_in_the_batches_nor_in_the_vocabulary(works, tmp_path):
    begun = run.begin(SMALL, works, tmp_path / "one")
    text = begun.tokenizer.decode(begun.batches.ids.tolist())
    assert "birch" not in text
    assert "cedar" in text
    (works / "birch.txt").write_text("birchbark canoe\n" * 50)
    again = run.begin(SMALL, works, tmp_path / "another")
    assert again.batches.fingerprint == begun.batches.fingerprint


def test_the_metrics_have_a_line_a_step(finished):
    _, begun, steps = finished
    written = losses(begun.folder)
    assert written == [(step.step, step.loss, step.results.get(run.BITS)) for step in steps]
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
    begun = run.begin(SMALL, works, tmp_path / "stopped")
    steps = run.steps(begun, device="cpu")
    for _ in range(stopped_after):
        next(steps)
    steps.close()
    resumed = run.resume(works, tmp_path / "stopped")
    assert resumed.learner.step == 3
    assert [step.step for step in run.steps(resumed, device="cpu")] == [4, 5, 6]
    for name in (run.WEIGHTS, run.CHECKPOINT):
        assert same(tensors(whole.folder, name), tensors(resumed.folder, name))
    assert losses(resumed.folder) == losses(whole.folder)
    assert resumed.best == whole.best


def test_the_best_weights_stay_when_later_ones_are_worse(works, tmp_path, monkeypatch):
    measured = iter([3.0, 2.0, 2.5])

    class Found:
        per_byte = property(lambda self: next(measured))

    monkeypatch.setattr(run.bits, "bits_per_byte", lambda *given, **named: Found())
    begun = run.begin(SMALL, works, tmp_path / "run")
    kept = {}
    for step in run.steps(begun, device="cpu"):
        kept[step.step] = tensors(begun.folder) if step.step > 1 else {}
    assert not same(kept[2], kept[4])
    assert same(kept[4], kept[6])
    assert begun.best == 2.0


def test_with_nothing_held_out_the_newest_weights_are_kept(works, tmp_path):
    wanted = Recipe(SMALL.start, SMALL.config, DataRules(vocabulary=300, held_out_share=0.0), SMALL.plan)
    begun, steps = trained(wanted, works, tmp_path / "run")
    assert not any(step.results for step in steps)
    averaged = {name: tensor.detach() for name, tensor in begun.learner.result.named_parameters()}
    assert same(tensors(begun.folder), averaged)


def test_a_loss_that_is_not_finite_leaves_the_folder_as_it_was(works, tmp_path):
    begun = run.begin(SMALL, works, tmp_path / "run")
    steps = run.steps(begun, device="cpu")
    for _ in range(4):
        next(steps)
    before = tensors(begun.folder), tensors(begun.folder, run.CHECKPOINT)
    with torch.no_grad():
        begun.learner.network.norm.weight.fill_(torch.nan)
    with pytest.raises(TrainingError, match="step 5: loss nan"):
        next(steps)
    after = tensors(begun.folder), tensors(begun.folder, run.CHECKPOINT)
    assert all(same(*pair) for pair in zip(before, after, strict=True))


def test_training_goes_on_from_another_runs_weights_and_tokenizer(finished, tmp_path):
    works, begun, _ = finished
    wanted = Recipe(
        str(begun.folder), {"dropout": 0.2}, SMALL.data, Plan(steps=1, batch_size=2, learning_rate=1e-9)
    )
    again, _ = trained(wanted, works, tmp_path / "again")
    assert again.config.dropout == 0.2
    assert again.config.layers == 1
    assert (again.folder / run.TOKENIZER).read_bytes() == (begun.folder / run.TOKENIZER).read_bytes()
    before, after = tensors(begun.folder), tensors(again.folder)
    for name, tensor in after.items():
        torch.testing.assert_close(tensor, before[name].float(), rtol=0, atol=1e-6)


def test_a_model_without_weights_is_begun_anew_with_its_config():
    found = start.find("gpt3-small")
    assert found.model is None
    assert found.config["width"] == 768


def test_windows_may_be_shorter_than_the_context_but_not_longer(works, tmp_path):
    wanted = Recipe(SMALL.start, SMALL.config, DataRules(vocabulary=300, window=4), SMALL.plan)
    assert run.begin(wanted, works, tmp_path / "a").batches.batch(1).shape == (2, 5)
    wanted = Recipe(SMALL.start, SMALL.config, DataRules(vocabulary=300, window=17), SMALL.plan)
    with pytest.raises(UsageError, match=r"data\.window is 17, but the network's context is 16 tokens"):
        run.begin(wanted, works, tmp_path / "b")


def test_a_folder_with_something_in_it_is_not_written_into(works, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "letters.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not an empty folder"):
        run.begin(SMALL, works, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["letters.txt"]


def test_a_config_that_cannot_be_leaves_no_folder(works, tmp_path):
    wanted = Recipe("gpt2", {"layer": 1}, SMALL.data, SMALL.plan)
    with pytest.raises(UsageError, match="there is no setting 'layer'; did you mean 'layers'"):
        run.begin(wanted, works, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("there", [True, False])
def test_a_run_that_cannot_begin_leaves_the_folder_as_it_was(works, tmp_path, there):
    folder = tmp_path / "run"
    if there:
        folder.mkdir()
    wide = {**SMALL.config, "context": 100_000}
    with pytest.raises(DataError, match="tokens") as raised:
        run.begin(Recipe("gpt2", wide, SMALL.data, SMALL.plan), works, folder)
    assert folder.exists() == there
    assert "--set data.window=" in raised.value.hint
    window = int(raised.value.hint.rpartition("=")[2])
    shorter = dataclasses.replace(SMALL.data, window=window)
    assert run.begin(Recipe("gpt2", wide, shorter, SMALL.plan), works, folder).batches.window == window


def test_a_run_stopped_before_its_first_checkpoint_is_resumed_from_the_start(works, tmp_path):
    whole, _ = trained(SMALL, works, tmp_path / "whole")
    begun = run.begin(SMALL, works, tmp_path / "stopped")
    steps = run.steps(begun, device="cpu")
    next(steps), next(steps)
    steps.close()
    with pytest.raises(UsageError) as raised:
        run.begin(SMALL, works, tmp_path / "stopped")
    assert raised.value.hint == "name another, or go on there with --resume"
    resumed = run.resume(works, tmp_path / "stopped")
    assert [step.step for step in run.steps(resumed, device="cpu")] == [1, 2, 3, 4, 5, 6]
    assert same(tensors(whole.folder), tensors(resumed.folder))
    assert losses(resumed.folder) == losses(whole.folder)


def test_a_run_without_checkpoints_is_not_resumed_over_its_weights(works, tmp_path):
    trained(changed(checkpoint_every=0), works, tmp_path / "run")
    with pytest.raises(
        TrainingError, match=r"keeps no checkpoints to go on from: its plan\.checkpoint_every is 0"
    ):
        run.resume(works, tmp_path / "run")


def test_only_small_text_files_of_a_start_are_copied(finished, tmp_path, monkeypatch):
    _, begun, _ = finished
    model = tmp_path / "model"
    model.mkdir()
    for name in (run.WEIGHTS, run.TOKENIZER):
        (model / name).write_bytes((begun.folder / name).read_bytes())
    for name in ("pytorch_model.bin", "pytorch_model.bin.index.json", "notes.md", "chat_template.jinja"):
        (model / name).write_text("{}")
    (model / "corpus.txt").write_text("x" * 300_000)
    monkeypatch.setattr(start, "_MOST_BYTES", 200_000)
    files = start.tokenizer_files(start.find(str(model)))
    assert sorted(files) == ["chat_template.jinja", "tokenizer.json"]


def test_resuming_needs_a_run_and_the_same_text(works, tmp_path):
    with pytest.raises(TrainingError, match=r"has no recipe\.yaml, so there is no run to go on with"):
        run.resume(works, tmp_path / "absent")
    trained(SMALL, works, tmp_path / "run")
    (works / "ash.txt").write_text((works / "ash.txt").read_text() + "One line more.\n")
    with pytest.raises(TrainingError, match="is not the text that"):
        run.resume(works, tmp_path / "run")


def test_a_checkpoint_of_another_network_or_none_at_all_is_refused(pairs, tmp_path):
    plan = Plan()
    checkpoint.write(Learner(pairs(), plan), tmp_path / "fresh.safetensors", {})
    with pytest.raises(TrainingError, match="of another network or plan"):
        checkpoint.read(
            Learner(pairs(), plan), tmp_path / "fresh.safetensors"
        )  # it never made a step: no memory
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    with pytest.raises(TrainingError, match=r"torn\.safetensors is no checkpoint that can be read"):
        checkpoint.read(Learner(pairs(), plan), tmp_path / "torn.safetensors")


def test_an_unknown_start_suggests_the_nearest():
    with pytest.raises(UnknownModelError, match="there is no family 'gpt2-smal', and"):
        start.find("gpt2-smal")


def test_a_family_of_two_plugins_or_of_another_modality_is_refused(monkeypatch):
    twins = (("one", Family("twin", "text", "", "", "")), ("two", Family("twin", "text", "", "", "")))
    monkeypatch.setattr(start.plugins, "all_families", lambda: twins)
    with pytest.raises(PluginError, match="one and two each bring a family 'twin'"):
        start.find("twin")
    monkeypatch.setattr(
        start.plugins, "all_families", lambda: (("one", Family("pixels", "image", "", "", "")),)
    )
    with pytest.raises(CapabilityError, match="pixels makes image, but only text models are trained so far"):
        start.find("pixels")
