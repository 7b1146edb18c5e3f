"""What leaves the machine: files that the family reads, by full name, none behind a link, and no path of the data."""

from __future__ import annotations

import json
import os

import pytest
import safetensors.torch

import zoo
from publish.conftest import LICENCES
from zoo.errors import WeightsError
from zoo.publish.bundle import prepare
from zoo.weights.tensors import read_header

WEIGHTS = "model.safetensors"
WRITTEN = {"README.md", "config.json", "recipe.yaml", "registry.yaml"}


def bundle(run):
    return prepare(run, "user/verse", LICENCES)


@pytest.mark.parametrize(
    "name",
    [
        "vocab.txt",
        "merges.json",
        "merges.txt",  # of vocab.json, which is not there, and beside tokenizer.json would not be read
        "tokenizer_secrets.json",
        "sequence-raw-private.txt",
        "columns.json",  # of tables, which this family makes none of
        "tokenizer.model",
        "classes.json",
        "processor_notes.txt",
    ],
)
def test_a_file_that_the_family_does_not_read_stays(run, name):
    (run / name).write_text("private")
    assert bundle(run).files.keys() == {WEIGHTS, "tokenizer.json", *WRITTEN}


def test_of_two_vocabularies_the_one_that_is_read_is_sent(run):
    (run / "vocab.json").write_text("{}")
    (run / "merges.txt").write_text("private")
    assert bundle(run).files.keys() == {WEIGHTS, "tokenizer.json", *WRITTEN}


def test_a_file_that_the_family_reads_is_sent(run):
    (run / "chat_template.jinja").write_text("{{ messages }}")
    assert bundle(run).files["chat_template.jinja"].read() == b"{{ messages }}"


@pytest.mark.parametrize(
    "name", ["chat_template.jinja", "tokenizer.json", WEIGHTS, "recipe.yaml", "metrics.jsonl", "run.json"]
)
def test_a_link_that_leaves_the_folder_is_refused(run, tmp_path, name):
    outside, link = tmp_path / "secret", run / name
    outside.write_bytes(link.read_bytes() if link.exists() else b"secret")
    link.unlink(missing_ok=True)
    for target in (outside, "../secret", tmp_path / "verse" / ".." / "secret"):
        link.symlink_to(target)
        with pytest.raises(WeightsError, match=f"{name} is a link that leaves its folder, to {outside}"):
            bundle(run)
        link.unlink()
    (run / "inside").write_bytes(outside.read_bytes())
    link.symlink_to("inside")
    if name == "chat_template.jinja":
        assert bundle(run).files[name].read() == b"secret"
    else:
        assert bundle(run).files


def test_a_link_in_another_file_s_place_is_not_even_looked_at(run, tmp_path):
    (run / "vocab.txt").symlink_to(tmp_path / "secret")
    assert "vocab.txt" not in bundle(run).files


def cached(run, repo):
    """The run's files as the Hub's cache holds a snapshot: links to blobs."""
    snapshot = repo / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repo / "blobs").mkdir()
    for name in (WEIGHTS, "tokenizer.json"):
        (run / name).rename(repo / "blobs" / name.encode().hex())
        (snapshot / name).symlink_to(f"../../blobs/{name.encode().hex()}")
    return snapshot


def test_a_snapshot_of_the_hub_s_cache_is_sent_and_its_links_may_lead_to_its_own_blobs_alone(run, tmp_path):
    snapshot = cached(run, tmp_path / "models--user--verse")
    assert {WEIGHTS, "tokenizer.json"} < bundle(snapshot).files.keys()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "models--user--verse" / "blobs" / "x").symlink_to(tmp_path / "secret")
    for target in ("../../blobs/x", "../../../secret", "../../blobs/../../secret"):
        (snapshot / "chat_template.jinja").symlink_to(target)
        with pytest.raises(WeightsError, match=r"chat_template\.jinja is a link that leaves its folder"):
            bundle(snapshot)
        (snapshot / "chat_template.jinja").unlink()


def test_what_lies_behind_a_link_is_not_copied_into_a_run_either(tiny_gpt2, tmp_path):
    from zoo.training import start

    for name in (WEIGHTS, "tokenizer.json"):
        os.link(tiny_gpt2 / name, tmp_path / name)
    (tmp_path / "notes.txt").write_text("mine")
    assert start.companions(start.find(str(tmp_path))).keys() == {"tokenizer.json"}
    (tmp_path.parent / "secret").write_text("secret")
    (tmp_path / "chat_template.jinja").symlink_to("../secret")
    with pytest.raises(WeightsError, match=r"chat_template\.jinja is a link that leaves its folder"):
        start.companions(start.find(str(tmp_path)))
    (tmp_path.parent / "secret").unlink()


@pytest.mark.parametrize(
    "source", ["/home/ada/patients/jane", "patients/jane", "../patients/jane", "~/patients/jane"]
)
def test_of_the_data_only_its_last_name_leaves(run, source):
    said = {"start": "patients/model", "data": {"source": source, "held_out": ["patients/ann.txt"]}}
    (run / "recipe.yaml").write_text(json.dumps(said))
    tensors, header = safetensors.torch.load_file(run / WEIGHTS), read_header(run / WEIGHTS).metadata
    safetensors.torch.save_file(tensors, run / WEIGHTS, metadata={**header, "recipe": json.dumps(said)})
    made = bundle(run)
    assert made.data == "jane"
    for name, content in made.files.items():
        assert b"patients" not in content.read(), name
    assert b"jane" in made.files[WEIGHTS].read()


@pytest.mark.parametrize("origin", ["/home/ada/verse", "ada/verse"])
def test_the_folder_that_a_tokenizer_was_loaded_from_does_not_leave(run, origin):
    said = {"chat_template": "{{ '/think' }}", "name_or_path": origin, "eos_token": "é"}
    (run / "tokenizer_config.json").write_text(json.dumps(said))
    sent = json.loads(bundle(run).files["tokenizer_config.json"].read())
    assert sent == said | {"name_or_path": origin.replace("/home/ada/", "")}


def test_a_run_resumes_from_the_path_that_it_keeps_for_itself(tmp_path):
    from zoo.training import recipe, resuming, run

    (tmp_path / "patients").mkdir()
    (tmp_path / "patients" / "rows.csv").write_text("a,b\n" + "".join(f"{x},{x * x}\n" for x in range(40)))
    wanted = recipe.Recipe(
        "gmm", {"components": 1}, str(tmp_path / "patients" / "rows.csv"), {}, {"steps": 1}
    )
    begun = run.begin(wanted, tmp_path / "run", device="cpu")
    assert len(list(run.steps(begun))) == 1
    assert recipe.read(tmp_path / "run" / "recipe.yaml").source == str(tmp_path / "patients" / "rows.csv")
    resuming.resume(tmp_path / "run", device="cpu")
    made = bundle(tmp_path / "run")
    assert made.files.keys() == {WEIGHTS, "columns.json", *WRITTEN}
    for name, content in made.files.items():
        assert b"patients" not in content.read(), name


def test_a_model_is_loaded_from_the_files_that_its_family_names_and_no_others(run):
    (run / "notes.json").write_text("{}")
    assert zoo.load(str(run), device="cpu").files.keys() == {WEIGHTS, "tokenizer.json"}
