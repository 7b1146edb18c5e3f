"""What a run's files say of it: paths reduced to names, the measurement of the pushed weights, N."""

from __future__ import annotations

import json

import pytest

from zoo.publish.history import read, without_paths


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("/home/ada/works", "works"),
        ("/home/ada/my works, all", "my works, all"),
        ("~/works/a.txt", "a.txt"),
        ("~ada/works", "works"),
        ("C:\\Users\\ada\\works.csv", "works.csv"),
        ("\\\\server\\share\\works", "works"),
        ("file:///home/ada/works.txt", "works.txt"),
        ('{"source": "/srv/my data/x"}', '{"source": "x"}'),
        ("source: /srv/my data/x\nseed: 1", "source: x\nseed: 1"),
        ("zoo-gpt/gpt2-small", "zoo-gpt/gpt2-small"),
        ("hf:ada/poems:train", "hf:ada/poems:train"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("1/2 and / or", "1/2 and / or"),
    ],
)
def test_a_path_of_the_machine_becomes_its_last_name(said, shown):
    assert without_paths(said) == shown
    assert without_paths({"a": [said, 1, None]}) == {"a": [shown, 1, None]}


def metrics(folder, *lines):
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_the_measurement_is_that_of_the_weights_step_else_the_best(tmp_path):
    metrics(
        tmp_path,
        {"step": 1, "held_out_loss": 3.0, "held_out_perplexity": 20.1},
        {"step": 2, "held_out_loss": 2.0, "held_out_perplexity": 7.4},
        {"step": 3, "held_out_loss": 2.5, "held_out_perplexity": 12.2},
        {"step": 4, "loss": 1.0},
    )
    assert (read(tmp_path).measured.step, read(tmp_path).steps) == (2, 4)
    assert read(tmp_path, 3).measured.results == {"held_out_loss": 2.5, "held_out_perplexity": 12.2}
    assert read(tmp_path, 4).measured.step == 2


def test_results_may_stand_in_a_mapping_with_their_counts(tmp_path):
    metrics(
        tmp_path, {"step": 1, "results": {"held_out_loss": 3.0, "held_out_tokens": 40, "held_out_rows": 5}}
    )
    measured = read(tmp_path).measured
    assert measured.results == {"held_out_loss": 3.0}
    assert (measured.counts, measured.samples) == ({"held_out_rows": 5, "held_out_tokens": 40}, 5)
    metrics(tmp_path, {"step": 1, "held_out_nats_per_frame": 3.0, "held_out_frames": 40})
    measured = read(tmp_path).measured
    assert (measured.results, measured.samples) == ({"held_out_nats_per_frame": 3.0}, 40)


def test_lines_cut_short_odd_and_not_finite_are_passed_over(tmp_path):
    odd = (
        '{"step": 2, "held_out_loss": NaN}\n[1]\nnull\n{"step": "3"}\n' + "[" * 5000 + '\n{"step": 9, "held_o'
    )
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "held_out_loss": 3.0}\n' + odd)
    assert (read(tmp_path).measured.step, read(tmp_path).steps) == (1, 2)


def test_run_json_says_how_much_was_held_out_and_what_it_ran_on(tmp_path):
    metrics(tmp_path, {"step": 1, "held_out_loss": 3.0})
    data = {"fingerprint": "ab" * 32, "summary": "4,508 tokens of 1,200 documents, 1,030 held out"}
    about = {"versions": {"torch": "2.13.0"}, "data": data, "host": "/home/ada"}
    (tmp_path / "run.json").write_text(json.dumps(about))
    found = read(tmp_path)
    assert found.measured.samples == 1030
    assert (found.versions, found.fingerprint) == ({"torch": "2.13.0"}, "ab" * 32)


def test_seed_data_and_steps_come_from_the_recipe(tmp_path):
    (tmp_path / "recipe.yaml").write_text("data: {source: ./poems/all.txt}\nplan: {seed: 3, steps: 9}\n")
    found = read(tmp_path)
    assert (found.data, found.seed, found.steps) == ("all.txt", 3, 9)
    assert "poems" not in found.recipe_text


def test_an_empty_folder_says_nothing(tmp_path):
    assert (read(tmp_path).recipe, read(tmp_path).measured, read(tmp_path).data) == (None, None, "")
