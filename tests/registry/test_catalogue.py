"""Finding models: by name, alias, plugin/name and wildcard; two plugins with one name; what is not installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from zoo.errors import AmbiguousModelError, UnknownModelError
from zoo.plugins import Plugin
from zoo.registry import index as indexing
from zoo.registry.catalogue import Catalogue, build

Write = Callable[..., Path]


def registry(
    plugin: str, *names: str, task: str = "text-generation", family: str = "tiny", alias: str = ""
) -> str:
    models = "".join(
        f"""
  - name: {name}
    family: {family}
    task: {task}
    can: [sample]
    summary: A model.
    parameters: 1
    aliases: [{alias}]
    weights: {{status: none}}
    licences: {{code: MIT, weights: none, data: unknown}}"""
        for name in names
    )
    return f"schema: 1\nplugin: {plugin}\nmodels:{models or ' []'}\n"


@pytest.fixture
def install(write: Write) -> Callable[..., Plugin]:
    """Write a registry file and give the plugin that brings it."""

    def install(distribution: str, text: str, *, status: str = "ok") -> Plugin:
        package = distribution.replace("-", "_")
        path = write(text, f"{package}/registry.yaml")
        name = distribution.removeprefix("zoo-")
        return Plugin(name, distribution, "1", f"{package}.plugin", package, registry=path, status=status)  # type: ignore[arg-type]

    return install


@pytest.fixture
def index(write: Write, tmp_path: Path) -> Callable[..., Path]:
    """Write the index of a tree with these plugins."""

    def index(**registries: str) -> Path:
        for plugin, text in registries.items():
            name = plugin.replace("_", "-")
            write(
                f"[project]\nname = '{name}'\ndescription = 'About it.'\n",
                f"tree/plugins/{name}/pyproject.toml",
            )
            write(text, f"tree/plugins/{name}/{plugin}/registry.yaml")
        assert indexing.main(["--root", str(tmp_path / "tree"), "--index", str(tmp_path / "index.yaml")]) == 0
        return tmp_path / "index.yaml"

    return index


@pytest.fixture
def two(install: Callable[..., Plugin], index: Callable[..., Path]) -> Catalogue:
    """zoo-a and zoo-b are installed and share the name `both`; zoo-c is only in the index."""
    a = install("zoo-a", registry("zoo-a", "both", "only-a"))
    b = install("zoo-b", registry("zoo-b", "both", "only-b", task="text-to-image", family="other"))
    c = registry("zoo-c", "only-c", "only-a", alias="")
    return build([a, b], index(zoo_c=c))


def test_a_model_is_found_by_name_alias_and_plugin_in_any_case(
    install: Callable[..., Plugin], index: Callable[..., Path]
) -> None:
    a = install("zoo-a", registry("zoo-a", "long-name", alias="short"))
    known = build([a], index(zoo_a=registry("zoo-a")))
    for name in ("long-name", "short", "zoo-a/long-name", "zoo-a/short", "Long-Name"):
        assert known.find(name).name == "long-name"
    assert known.find("short").qualified == "zoo-a/long-name"


def test_a_name_of_two_plugins_is_refused_and_plugin_slash_name_stays_usable(two: Catalogue) -> None:
    with pytest.raises(AmbiguousModelError) as raised:
        two.find("both")
    assert "zoo-a and zoo-b" in str(raised.value)
    assert raised.value.near == ("zoo-a/both", "zoo-b/both")
    assert "zoo-a/both or zoo-b/both" in raised.value.hint
    assert two.find("zoo-a/both").plugin == "zoo-a"
    assert two.find("zoo-b/both").plugin == "zoo-b"


def test_an_alias_that_is_another_plugins_name_is_ambiguous_too(
    install: Callable[..., Plugin], index: Callable[..., Path]
) -> None:
    a = install("zoo-a", registry("zoo-a", "long-name", alias="short"))
    thief = install("zoo-thief", registry("zoo-thief", "short"))
    with pytest.raises(AmbiguousModelError, match="zoo-a and zoo-thief"):
        build([a, thief], index(zoo_c=registry("zoo-c"))).find("short")


def test_an_unknown_name_suggests_the_nearest(two: Catalogue) -> None:
    with pytest.raises(UnknownModelError) as raised:
        two.find("onyl-b")
    assert "there is no model 'onyl-b'; did you mean only-b" in str(raised.value)
    assert raised.value.near[0] == "only-b"
    assert raised.value.hint == "`zoo list` shows every model"
    with pytest.raises(UnknownModelError) as raised:
        two.find("someone/else")
    assert raised.value.hint == "for a repo on the Hub write hf:someone/else"


def test_a_model_known_only_from_the_index_is_found_as_not_installed(two: Catalogue) -> None:
    entry = two.find("only-c")
    assert (entry.plugin, entry.installed, entry.package) == ("zoo-c", False, "")


def test_an_installed_model_goes_before_one_of_the_index(two: Catalogue) -> None:
    assert two.find("only-a").plugin == "zoo-a"
    assert two.find("zoo-c/only-a").installed is False


def test_wildcards_and_filters_select(two: Catalogue) -> None:
    def names(pattern: str = "*", **filters: object) -> list[str]:
        return [entry.qualified for entry in two.match(pattern, **filters)]  # type: ignore[arg-type]

    assert names() == [
        "zoo-a/both",
        "zoo-a/only-a",
        "zoo-b/both",
        "zoo-b/only-b",
        "zoo-c/only-c",
        "zoo-c/only-a",
    ]
    assert names("ONLY-[ab]") == ["zoo-a/only-a", "zoo-b/only-b", "zoo-c/only-a"]
    assert names("zoo-b/*") == ["zoo-b/both", "zoo-b/only-b"]
    assert names("only") == []
    assert names(task="text-to-image") == ["zoo-b/both", "zoo-b/only-b"]
    assert names(family="other") == ["zoo-b/both", "zoo-b/only-b"]
    assert names(plugin="zoo-c") == ["zoo-c/only-c", "zoo-c/only-a"]
    assert names("*a", installed=True) == ["zoo-a/only-a"]


def test_names_for_completion_are_qualified_where_a_plain_one_would_be_refused(two: Catalogue) -> None:
    names = two.names()
    assert {"zoo-a/both", "zoo-b/both", "only-b", "only-c"} <= set(names)
    assert "both" not in names
    assert all(two.find(name) for name in names)


def test_a_bad_registry_file_costs_its_own_plugin_only(
    install: Callable[..., Plugin], index: Callable[..., Path]
) -> None:
    good = install("zoo-a", registry("zoo-a", "fine"))
    bad = install("zoo-b", "schema: 1\nplugin: zoo-b\nmodels: [&x 1]\n")
    known = build([bad, good], index(zoo_b=registry("zoo-b", "lost")))
    assert [entry.name for entry in known.entries] == ["fine"]
    [problem] = known.problems
    assert "zoo_b/registry.yaml:3: models[0]: has the anchor &x" in str(problem)
    with pytest.raises(UnknownModelError) as raised:
        known.find("lost")
    assert "zoo doctor" in raised.value.hint


def test_a_plugin_that_speaks_for_another_distribution_is_a_problem(
    install: Callable[..., Plugin], index: Callable[..., Path]
) -> None:
    thief = install("zoo-thief", registry("zoo-a", "stolen"))
    known = build([thief], index(zoo_c=registry("zoo-c")))
    assert known.entries == ()
    assert "belongs to the distribution zoo-thief" in str(known.problems[0])


@pytest.mark.parametrize("status", ["disabled", "broken"])
def test_a_plugin_that_may_not_be_used_is_shown_from_the_index(
    install: Callable[..., Plugin], index: Callable[..., Path], status: str
) -> None:
    text = registry("zoo-a", "one")
    known = build([install("zoo-a", text, status=status)], index(zoo_a=text))
    assert known.find("one").installed is False


def test_the_index_stands_in_for_an_equal_registry_file_and_never_for_a_changed_one(
    install: Callable[..., Plugin], index: Callable[..., Path]
) -> None:
    text = registry("zoo-a", "one", "two")
    path = index(zoo_a=text)
    equal = build([install("zoo-a", text)], path)
    parsed = build([install("zoo-a", text + "# changed\n")], path)
    assert equal == parsed
    assert [entry.installed for entry in equal.entries] == [True, True]
    assert {entry.package for entry in equal.entries} == {"zoo_a"}
    same_size = text.replace("name: one", "name: uno")
    assert build([install("zoo-a", same_size)], path).find("uno")


def test_a_damaged_index_costs_only_what_is_not_installed(
    install: Callable[..., Plugin], write: Write
) -> None:
    a = install("zoo-a", registry("zoo-a", "one"))
    for text in ("", "{}", '# x\n{"plugins": [{}]}', '{"plugins": '):
        known = build([a], write(text, "index.yaml"))
        assert [entry.name for entry in known.entries] == ["one"]
        assert "the index of known models is damaged" in str(known.problems[0])


def test_a_plugin_without_a_registry_file_brings_no_models(write: Write, index: Callable[..., Path]) -> None:
    plain = Plugin("a", "zoo-a", "1", "zoo_a", "zoo_a")
    assert build([plain], index(zoo_c=registry("zoo-c"))) == Catalogue(())
