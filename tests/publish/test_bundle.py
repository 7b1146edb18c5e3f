"""What is put together before any request: which folders are refused, and what the card and the files say."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import safetensors.torch
import torch
import yaml

from publish.conftest import LICENCES, make_run
from zoo.errors import NoWeightsError, PluginError, TensorsError, UsageError, WeightsError
from zoo.publish.bundle import prepare
from zoo.weights.tensors import read_header, zoo_metadata

WEIGHTS = "model.safetensors"


def rewritten(folder, metadata=None, **tensors):
    """The folder's weights with other tensors, or other metadata."""
    path = folder / WEIGHTS
    said = {**read_header(path).metadata, **(metadata or {})}
    safetensors.torch.save_file({**safetensors.torch.load_file(path), **tensors}, path, metadata=said)


def bundle(run, **licences):
    return prepare(run, "user/verse", {**LICENCES, **licences})


def card(run, **licences):
    """The card's YAML, and the text after it."""
    text = bundle(run, **licences).files["README.md"].read().decode()
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(UsageError, match="there is no such folder"):
        bundle(tmp_path / "absent")
    with pytest.raises(NoWeightsError, match="has no safetensors file"):
        bundle(tmp_path)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(run, value):
    norm = safetensors.torch.load_file(run / WEIGHTS)["norm.weight"].clone()
    norm[3] = value
    rewritten(run, **{"norm.weight": norm})
    with pytest.raises(WeightsError, match=r"norm\.weight holds values that are not finite"):
        bundle(run)


def test_weights_that_are_not_those_of_their_config_are_refused(run):
    rewritten(run, extra=torch.zeros(2))
    with pytest.raises(TensorsError, match="extra"):
        bundle(run)


def test_a_header_that_says_nothing_or_what_cannot_be_is_refused(run):
    rewritten(
        run, {"zoo": json.dumps({"schema": 1, "family": "gpt2", "plugin": "zoo-gpt", "config": {"layer": 1}})}
    )
    with pytest.raises(WeightsError, match="there is no setting 'layer'"):
        bundle(run)
    rewritten(run, {"zoo": json.dumps({"schema": 1, "family": "gpt2", "plugin": "zoo-none", "config": {}})})
    with pytest.raises(PluginError, match="zoo-none is not installed"):
        bundle(run)
    safetensors.torch.save_file({"a": torch.zeros(2)}, run / WEIGHTS)
    with pytest.raises(
        WeightsError, match=r"neither a safetensors file of the zoo nor a config\.json says what"
    ):
        bundle(run)


def test_a_config_beside_the_weights_that_says_another_model_is_refused(run):
    (run / "config.json").write_text(json.dumps({"zoo": {"schema": 1, "family": "gpt1"}}))
    with pytest.raises(WeightsError, match=r"config\.json: it says another model than the header"):
        bundle(run)


def test_of_the_config_of_the_model_that_a_run_began_with_what_its_tokenizer_needs_stays(run, tmp_path):
    said = {"model_type": "gpt2", "n_layer": 12, "eos_token_id": [256, 258], "_name_or_path": "/home/ada/a"}
    (run / "config.json").write_text(json.dumps(said))
    sent = json.loads(bundle(run).files["config.json"].read())
    assert sent.pop("zoo")["family"] == "gpt2"
    assert sent == {"eos_token_id": [256, 258], "tokenizer_of": "gpt2"}
    again = bundle(bundle(run).write(tmp_path / "out"))
    assert again.files["config.json"].sha256 == bundle(run).files["config.json"].sha256


def test_what_a_dry_run_wrote_can_be_pushed_again_as_it_is(run, tmp_path):
    first = bundle(run)
    folder = first.write(tmp_path / "out")
    assert {path.name for path in folder.iterdir()} == first.files.keys()
    for name, content in first.files.items():
        assert (folder / name).read_bytes() == content.read()
    again = bundle(folder)
    assert {n: c.sha256 for n, c in again.files.items() if n not in ("README.md", "registry.yaml")} == {
        n: c.sha256 for n, c in first.files.items() if n not in ("README.md", "registry.yaml")
    }
    with pytest.raises(UsageError, match="is not an empty folder"):
        first.write(folder)


def test_a_folder_that_cannot_be_written_whole_is_not_there(run, tmp_path, monkeypatch):
    made = bundle(run)
    monkeypatch.setattr(
        "zoo.publish.bundle.shutil.copyfileobj", lambda *_: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(WeightsError, match="cannot be written: full"):
        made.write(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["verse"]


def test_a_path_of_the_machine_in_the_header_is_reduced_and_the_tensors_stay(run):
    recipe = json.dumps({"data": {"source": "/home/ada/secret project/works"}, "start": "gpt2"})
    rewritten(run, {"recipe": recipe, "step": "20"})
    content = bundle(run).files[WEIGHTS].read()
    assert b"secret" not in content
    (run / "clean.safetensors").write_bytes(content)
    assert json.loads(read_header(run / "clean.safetensors").metadata["recipe"])["data"]["source"] == "works"
    assert zoo_metadata(run / "clean.safetensors") == zoo_metadata(run / WEIGHTS)
    before, after = (safetensors.torch.load_file(run / name) for name in (WEIGHTS, "clean.safetensors"))
    assert all(torch.equal(before[name], after[name]) for name in before | after)


def test_the_only_safetensors_file_gets_the_usual_name(run):
    (run / WEIGHTS).rename(run / "verse.safetensors")
    (run / "checkpoint.safetensors").unlink()
    assert WEIGHTS in bundle(run).files


def test_the_card_says_in_front_what_the_hub_reads(run):
    front, _ = card(run)
    index = front.pop("model-index")
    assert front == {
        "license": "mit",
        "library_name": "zoo",
        "pipeline_tag": "text-generation",
        "tags": ["zoo", "zoo-gpt", "gpt2", "text-generation"],
        "metrics": ["bits_per_byte"],
    }
    [result] = index[0]["results"]
    assert result["metrics"] == [{"type": "bits_per_byte", "name": "bits per byte, held out", "value": 2.25}]
    from huggingface_hub import ModelCard

    assert ModelCard(bundle(run).files["README.md"].read().decode()).data.eval_results[0].metric_value == 2.25


def test_the_card_says_data_recipe_metrics_licences_versions_and_how_to_sample(run):
    _, body = card(run)
    for said in (
        "A `gpt2` of the plugin `zoo-gpt`",
        "Trained on works; licence of the data: CC0-1.0.",
        "source: works",
        "| bits per byte | 2.25 | 1,234 bytes | 1616 | 40 |",
        "zoo sample hf:user/verse --prompt",
        'zoo.load("hf:user/verse")',
        "| weights | MIT |",
        "| zoo-core |",
    ):
        assert said in body
    assert "/home" not in body


def test_the_python_of_the_card_runs(run, monkeypatch, capsys):
    import zoo

    _, body = card(run)
    load = zoo.load
    monkeypatch.setattr("zoo.api.load", lambda name: load(str(run), device="cpu"))
    exec(re.search(r"```python\n(.*?)```", body, re.DOTALL)[1])  # the card's own words, made by this project
    assert capsys.readouterr().out.startswith("...")


def test_a_run_that_says_nothing_has_a_card_that_says_so(tiny_gpt2):
    front, body = card(tiny_gpt2, data="unknown", weights="unknown")
    assert front["license"] == "unknown"
    assert front.keys().isdisjoint({"metrics", "model-index", "datasets"})
    assert "The run does not say what it was trained on; licence of the data: unknown." in body
    assert "Nothing was measured on held-out data." in body
    assert "There is no recipe" in body


def test_a_dataset_of_the_hub_is_linked(run):
    (run / "recipe.yaml").write_text("data: {source: 'hf:ada/poems:train'}\n")
    front, _ = card(run)
    assert front["datasets"] == ["ada/poems"]
    assert front["model-index"][0]["results"][0]["dataset"]["type"] == "ada/poems"


def test_words_of_a_run_cannot_forge_the_card(run):
    name = "x\\n---\\nlicense: evil\\n# Hacked <script>|`\\u202e"
    (run / "recipe.yaml").write_text(f'data: "{name}"\nnote: "````\\n# out"\n')
    front, body = card(run)
    assert front["license"] == "mit"
    assert "\n# Hacked" not in body
    assert "<script>" not in re.sub(r"(?s)`{5}yaml.*?`{5}\n", "", body).replace("\\<", "")
    assert "\u202e" not in body
    assert "\n`````yaml\n" in body


@pytest.mark.parametrize("text", ["- a list", "a: [", "a: 1\na: 2"])
def test_a_recipe_that_is_none_is_refused(run, text):
    (run / "recipe.yaml").write_text(text)
    with pytest.raises(Exception, match=r"recipe\.yaml"):
        bundle(run)


def test_shards_are_pushed_with_their_index(run, tmp_path):
    tensors, said = safetensors.torch.load_file(run / WEIGHTS), read_header(run / WEIGHTS).metadata
    names = sorted(tensors)
    files = {f"model-0000{at + 1}-of-00002.safetensors": names[at::2] for at in range(2)}
    for file, held in files.items():
        safetensors.torch.save_file({name: tensors[name] for name in held}, run / file, metadata=said)
    index = {"weight_map": {name: file for file, held in files.items() for name in held}}
    (run / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    (run / WEIGHTS).unlink()
    made = bundle(run)
    assert {name for name in made.files if WEIGHTS[:5] in name} == {*files, f"{WEIGHTS}.index.json"}
    folder = made.write(tmp_path / "out")
    import zoo

    assert zoo.load(str(folder), device="cpu").network is not None


def test_a_run_folder_is_left_as_it_was(tiny_gpt2, tmp_path):
    run = make_run(tiny_gpt2, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    bundle(run)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    shutil.rmtree(run)
