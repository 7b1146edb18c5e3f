"""Recipes: read, written out, changed from the command line, and refused with what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.datasets.text import TextRules
from zoo.errors import DataError, RegistryError, UsageError
from zoo.settings import make
from zoo.training import recipe
from zoo.training.plan import Plan
from zoo.training.recipe import Recipe
from zoo_gpt.configs import GPT2Config

RECIPES = sorted(Path(__file__).parents[2].glob("plugins/*/recipes/*/recipe.yaml"))


def written(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_a_recipe_leaves_out_is_the_default(tmp_path):
    path = written(tmp_path, "schema: 1\nstart: gpt2\nplan: {steps: 7}\nconfig: {layers: 2}\n")
    assert recipe.read(path) == Recipe("gpt2", {"layers": 2}, "", {}, {"steps": 7})


def test_a_recipe_written_out_is_read_as_the_same(tmp_path):
    said = Recipe(
        "hf:some/model@main",
        {"layers": 2, "head_width": None},
        "shakespeare",
        {"held_out": ["a", "no: yes"], "window": 16},
        {"learning_rate": 3e-4, "steps": 7},
    )
    text = recipe.to_yaml(said)
    assert recipe.read(written(tmp_path, text)) == said
    assert "learning_rate: 0.0003\n" in text
    assert "source: shakespeare\n" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema: 1\nstart: gpt2\nplans: {}\n", "there is no setting 'plans'; did you mean 'plan'?"),
        ("schema: 1\nstart: gpt2\nplan: 3\n", "plan is 3, but must be a mapping"),
        ("schema: 1\nstart: gpt2\ndata: 3\n", "data is 3, but must be a mapping"),
        ("schema: 1\nstart: gpt2\ndata: {source: 3}\n", "data.source is 3, but must be text"),
        ("schema: 2\nstart: gpt2\n", "schema is 2, but must be 1"),
        ("start: gpt2\n", "schema is None, but must be 1"),
        ("schema: 1\n", "start is None, but must name a model or a family"),
        ("- 1\n", "must be a mapping with schema, start, config, data, plan"),
    ],
)
def test_what_a_recipe_may_not_say_is_refused_by_name(tmp_path, text, message):
    with pytest.raises(UsageError) as refused:
        recipe.read(written(tmp_path, text))
    assert message in str(refused.value)
    assert "recipe.yaml" in str(refused.value)


def test_a_recipe_is_read_as_strictly_as_a_registry_file(tmp_path):
    with pytest.raises(RegistryError, match=r"recipe\.yaml:3: "):
        recipe.read(written(tmp_path, "schema: 1\nstart: gpt2\nstart: gpt1\n"))
    with pytest.raises(DataError, match="cannot be read"):
        recipe.read(tmp_path / "absent.yaml")


def test_settings_are_changed_one_by_one_in_their_own_types():
    changed = recipe.changed(
        Recipe("gpt2", {"layers": 4}),
        [
            "config.layers=2",
            "config.head_width=none",
            "plan.learning_rate=3e-4",
            "plan.steps = 9",
            "data.held_out=a,b",
            "data.window=8",
        ],
        GPT2Config,
        TextRules,
        Plan,
    )
    assert changed == Recipe(
        "gpt2",
        {"layers": 2, "head_width": None},
        "",
        {"held_out": ("a", "b"), "window": 8},
        {"learning_rate": 3e-4, "steps": 9},
    )


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("plan.learning_rat=1", "there is no setting 'learning_rat'; did you mean 'learning_rate'?"),
        ("data.windo=2", "there is no setting 'windo'; did you mean 'window'?"),
        ("config.layer=2", "there is no setting 'layer'; did you mean 'layers'?"),
        ("plans.steps=2", "there is no setting 'plans'; did you mean 'plan'?"),
        ("steps=2", "must be written as section.setting=value"),
        ("plan.steps", "must be written as section.setting=value"),
        ("plan.steps=2.5", "steps is '2.5', but must be a whole number"),
        ("plan.steps=0", "steps is 0, but must be at least 1"),
        ("plan.precision=half", "precision is 'half', but must be one of float32, bfloat16"),
    ],
)
def test_a_change_that_cannot_be_names_what_can(assignment, message):
    with pytest.raises(UsageError) as refused:
        recipe.changed(Recipe("gpt2"), [assignment], GPT2Config, TextRules, Plan)
    assert str(refused.value).startswith(f"--set {assignment}: ")
    assert message in str(refused.value)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.parent.name)
def test_every_recipe_in_the_tree_resolves(path):
    from zoo.datasets import reading
    from zoo.training import start

    said = recipe.read(path)
    family = start.find(said.start).family
    make(family.resolve("config"), said.config, what=str(path))
    make(reading.rules_class(family.modality), said.data, what=str(path))
    make(family.resolve("plan"), said.plan, what=str(path))


def test_a_recipe_that_is_given_away_names_no_folder_of_the_machine(tmp_path):
    for folder in (str(tmp_path), "secret", "../secret", "./a/secret"):
        said = Recipe(
            f"{folder}/model", source=f"{folder}/works", data={"held_out": ["jane/a.txt"], "column": "a/b"}
        )
        shared = recipe.shareable(recipe.to_plain(said))
        assert shared["start"] == "model"
        assert shared["data"] == {"source": "works", "held_out": ["a.txt"], "column": "a/b"}
    for start in ("zoo-gpt/gpt2-small", "gpt2", "hf:user/model@main"):
        named = recipe.to_plain(Recipe(start, source="hf:user/set:train"))
        assert recipe.shareable(named) == named


def test_there_is_a_recipe_in_the_tree():
    assert "shakespeare-nano" in [path.parent.name for path in RECIPES]
