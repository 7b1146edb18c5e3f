"""Sequences as material: what is held out, what lies beside the weights, what is measured, and previews."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

import sequence_witness as witness
from loopback_datasets import hub as hub
from loopback_datasets import parquet
from zoo.datasets import reading
from zoo.datasets.passes import ALONE
from zoo.datasets.sequence_files import SUFFIXES, Wanted
from zoo.datasets.sequence_files import read as read_files
from zoo.datasets.sequence_split import Part, cut
from zoo.datasets.sequences import SequenceMaterial, SequenceRules, read
from zoo.datasets.source import Source
from zoo.datasets.table_columns import unscaled
from zoo.errors import CapabilityError, DataError, UsageError, ZooWarning
from zoo.modality.sequence_format import FILE, LETTERS, Format

pytestmark = pytest.mark.usefixtures("one_thread")

ALL = SequenceRules(held_out_share=0.0)


def written(path, content: str):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8", newline="")
    return path


def lines(path, texts):
    return written(path, "\n".join(texts))


def material(path, rules=ALL, seed=0) -> SequenceMaterial:
    return read(Source(str(path), path=path), rules, seed)


def bound(path, folder, rules=ALL, seed=0) -> SequenceMaterial:
    found = material(path, rules, seed)
    folder.mkdir(exist_ok=True)
    found.learn(folder)
    found.bind(witness.family(), {FILE: folder / FILE})
    return found


def frames(found: SequenceMaterial, network) -> list[list]:
    """What is fitted to, one sequence after the other."""
    told = []
    for batch in found.passes(network, 0, ALONE).batches(100):
        told += [
            values[:length].tolist() for values, length in zip(batch["values"], batch["lengths"], strict=True)
        ]
    return told


# What is held out


def test_whole_sequences_are_held_out_as_the_seed_draws_them(tmp_path):
    path = lines(tmp_path / "a.txt", [chr(97 + number) * 3 for number in range(20)])
    rules = SequenceRules(split="lines", held_out_share=0.2)
    network = witness.of_symbols()
    kept = {}
    for seed in range(3):
        found = bound(path, tmp_path / "run", rules, seed)
        assert found.summary == "20 sequences: 60 characters, 20 different ones, 4 sequences held out"
        kept[seed] = {values[0] for values in frames(found, network)}
        assert len(kept[seed]) == 16
        assert frames(bound(path, tmp_path / "run", rules, seed), network) == frames(found, network)
    assert kept[0] != kept[1] != kept[2]


def test_of_a_single_sequence_the_last_frames_are_held_out(tmp_path):
    path = written(tmp_path / "a.csv", "x,y\n" + "".join(f"{number},0\n" for number in range(40)))
    found = bound(path, tmp_path / "run", SequenceRules(held_out_share=0.1))
    assert found.summary == "1 sequence: 40 frames of 2 columns, the last 4 held out"
    assert [[values[0] for values in one] for one in frames(found, witness.of_numbers())] == [
        list(map(float, range(36)))
    ]
    assert found.evaluate(witness.of_numbers())["held_out_frames"] == 4


def test_nothing_is_held_out_where_the_share_is_0(tmp_path):
    found = bound(written(tmp_path / "a.txt", "ab"), tmp_path / "run")
    assert found.summary == "1 sequence: 2 characters, 2 different ones"
    assert found.evaluate(witness.of_symbols()) == {}


def test_too_little_to_hold_anything_out_of_is_told(tmp_path):
    with pytest.raises(DataError, match="of 1 frames all are held out") as told:
        material(written(tmp_path / "a.csv", "x\n1\n"), SequenceRules())
    assert "held_out_share=0" in told.value.hint
    with pytest.raises(DataError, match="of 2 rows 2 are held out"):
        material(lines(tmp_path / "b.txt", "ab"), SequenceRules(split="lines", held_out_share=0.9))


def test_empty_sequences_are_told_in_the_summary(tmp_path):
    path = lines(tmp_path / "a.txt", ["to", "123", "be"])
    rules = SequenceRules(split="lines", letters=True, held_out_share=0.0)
    assert material(path, rules).summary == (
        "2 sequences: 4 characters, 27 different ones, 0 sequences held out; 1 empty ones left out"
    )


def test_longer_sequences_are_cut_into_pieces_to_fit_to_but_measured_whole(tmp_path):
    path = lines(tmp_path / "a.txt", ["abcdefg", "hij", "kl"])
    found = bound(path, tmp_path / "run", dataclasses.replace(ALL, split="lines", window=3))
    told = ["".join(chr(97 + symbol) for symbol in one) for one in frames(found, witness.of_symbols())]
    assert sorted(told) == ["abc", "def", "g", "hij", "kl"]
    one = SequenceRules(window=2, held_out_share=0.5)
    assert (
        bound(written(tmp_path / "b.txt", "abab"), tmp_path / "b", one).evaluate(witness.of_symbols())[
            "held_out_frames"
        ]
        == 2
    )


@pytest.mark.parametrize("window", [1, 2, 3, 7, 100])
def test_pieces_joined_are_the_sequences(window):
    lengths = np.array([5, 1, 7, 14])
    part = cut(Part(np.array([0, 10, 20, 40]), lengths, np.zeros(4, np.int64)), window)
    covered = [
        place
        for start, length in zip(part.starts, part.lengths, strict=True)
        for place in range(start, start + length)
    ]
    assert covered == [*range(5), 10, *range(20, 27), *range(40, 54)]
    assert part.lengths.max() <= window
    assert part.lengths.min() >= 1


# Beside the weights


def test_sequence_json_says_what_a_frame_is(tmp_path):
    material(written(tmp_path / "a.txt", "ba ba")).learn(tmp_path)
    assert json.loads((tmp_path / FILE).read_text()) == {
        "schema": 1,
        "kind": "symbols",
        "symbols": [" ", "a", "b"],
        "text": True,
        "names": ["symbol"],
        "mean": [0.0],
        "scale": [1.0],
        "letters": False,
    }
    material(
        written(tmp_path / "a.csv", "sequence,x\ns,1\ns,3\n"), dataclasses.replace(ALL, standardise=True)
    ).learn(tmp_path)
    assert json.loads((tmp_path / FILE).read_text()) == {
        "schema": 1,
        "kind": "numbers",
        "symbols": None,
        "text": False,
        "names": ["x"],
        "mean": [2.0],
        "scale": [1.0],
        "letters": False,
    }


@pytest.mark.parametrize(
    ("name", "content", "rules", "decided"),
    [
        ("a.txt", "abc", {}, {"emissions": "categorical", "symbols": 3, "columns": 1}),
        ("a.txt", "abc", {"letters": True}, {"emissions": "categorical", "symbols": 27, "columns": 1}),
        ("a.csv", "s\nx\ny\n", {}, {"emissions": "categorical", "symbols": 2, "columns": 1}),
        ("a.csv", "x\n0.5\n2\n", {}, {"columns": 1}),
        ("a.csv", "x\n0\n4\n", {}, {"columns": 1, "symbols": 5}),
        ("a.csv", "x\n0\n0\n", {}, {"columns": 1}),
        ("a.csv", "x\n-1\n4\n", {}, {"columns": 1}),
        ("a.csv", "x\n0\n4e9\n", {}, {"columns": 1}),
        ("a.csv", "x\n0\n4\n", {"standardise": True}, {"columns": 1}),
        ("a.csv", "x,y\n0,1\n4,1\n", {}, {"columns": 2}),
    ],
)
def test_a_new_networks_config_has_what_the_data_decides(tmp_path, name, content, rules, decided):
    found = material(written(tmp_path / name, content), dataclasses.replace(ALL, **rules))
    found.learn(tmp_path)
    assert found.bind(witness.family(), {FILE: tmp_path / FILE}) == decided


def test_a_network_that_is_there_keeps_its_config_and_its_symbols(tmp_path):
    Format(("b", "c", "a"), unscaled(("symbol",)), text=True).write(tmp_path / FILE)
    found = material(written(tmp_path / "a.txt", "abba"))
    assert found.bind(witness.family(), {FILE: tmp_path / FILE}) == {}
    assert frames(found, witness.of_symbols()) == [[2, 0, 0, 2]]


def test_other_symbols_or_columns_than_the_networks_are_refused(tmp_path):
    family, text = witness.family(), written(tmp_path / "a.txt", "abcdefghij")
    table = written(tmp_path / "a.csv", "x,y\n1,2\n")
    witness.LETTERS.write(tmp_path / FILE)
    with pytest.raises(
        DataError,
        match="the data has characters that the model does not know: 'c', 'd', 'e', 'f', 'g' and 3 more",
    ) as told:
        material(text).bind(family, {FILE: tmp_path / FILE})
    assert told.value.hint == "it knows 4 characters: ' abt'"
    Format(tuple(LETTERS), unscaled(("symbol",)), text=True, letters=True).write(tmp_path / FILE)
    capitals = written(tmp_path / "b.txt", "To be")
    with pytest.raises(DataError, match="does not know: 'T'") as told:
        material(capitals).bind(family, {FILE: tmp_path / FILE})
    assert "data.letters=true" in told.value.hint
    folded = material(capitals, dataclasses.replace(ALL, letters=True))
    assert folded.bind(family, {FILE: tmp_path / FILE}) == {}
    with pytest.raises(DataError, match="the data has numbers, but the network has symbols"):
        material(table).bind(family, {FILE: tmp_path / FILE})
    Format(None, unscaled(("x", "z"))).write(tmp_path / FILE)
    with pytest.raises(
        DataError, match="the data has the columns x, y, but the network has the columns x, z"
    ):
        material(table).bind(family, {FILE: tmp_path / FILE})
    with pytest.raises(DataError, match="the data has symbols, but the network has the columns x, z"):
        material(text).bind(family, {FILE: tmp_path / FILE})
    with pytest.raises(DataError, match=f"hmm: there is no {FILE}"):
        material(text).bind(family, {})
    with pytest.raises(DataError, match="belong to no network yet"):
        material(text).passes(witness.of_symbols(), 0, ALONE)


def test_rules_that_do_not_fit_are_told(tmp_path):
    with pytest.raises(UsageError, match=r"data\.standardise is for numbers"):
        material(written(tmp_path / "a.txt", "ab"), dataclasses.replace(ALL, standardise=True))
    one = material(written(tmp_path / "b.txt", "aaa"))
    one.learn(tmp_path)
    with pytest.raises(DataError, match="the data has the symbol 'a' alone"):
        one.bind(witness.family(), {FILE: tmp_path / FILE})
    with pytest.raises(CapabilityError, match="sequences are fitted to"):
        one.rows(witness.of_symbols(), 0)


def test_the_scale_is_that_of_the_frames_that_are_fitted_to(tmp_path):
    values = np.random.default_rng(0).normal([3.0, -2.0, 7.0], [2.0, 0.1, 0.0], size=(50, 3))
    content = "sequence,a,b,c\n" + "".join(
        f"{number // 5},{a!r},{b!r},{c!r}\n" for number, (a, b, c) in enumerate(values.tolist())
    )
    path = written(tmp_path / "a.csv", content)
    found = bound(path, tmp_path / "run", SequenceRules(standardise=True, held_out_share=0.3))
    fitted = np.array([frame for one in frames(found, witness.of_numbers()) for frame in one])
    assert len(fitted) == 35
    np.testing.assert_allclose(fitted.mean(0), [0, 0, 0], atol=1e-12)
    np.testing.assert_allclose(fitted.std(0), [1, 1, 0], atol=1e-12)
    said = json.loads((tmp_path / "run" / FILE).read_text())
    assert said["scale"][2] == 1.0
    tail = SequenceRules(standardise=True, held_out_share=0.3)
    bound(written(tmp_path / "b.csv", "x\n0\n2\n1000\n"), tmp_path / "b", tail)
    assert json.loads((tmp_path / "b" / FILE).read_text())["mean"] == [1.0]


# Measuring and drawing


def test_symbols_are_measured_in_bits_against_every_path_of_states(tmp_path):
    texts = ["abt", "ta b", "b", " at", "tt", "ab", "ba t"]
    found = material(lines(tmp_path / "a.txt", texts), SequenceRules(split="lines", held_out_share=0.4))
    witness.LETTERS.write(tmp_path / FILE)
    found.bind(witness.family(), {FILE: tmp_path / FILE})
    network = witness.of_symbols()
    fitted = {"".join(" abt"[symbol] for symbol in one) for one in frames(found, network)}
    held_out = [text for text in texts if text not in fitted]
    assert len(held_out) == 3
    expected = [witness.log_likelihood(witness.LETTERS.encode(text)) for text in held_out]
    count = sum(map(len, held_out))
    told = found.evaluate(network)
    assert list(told) == ["held_out_bits_per_symbol", "held_out_frames"]
    assert told["held_out_frames"] == count
    assert told["held_out_bits_per_symbol"] == pytest.approx(-sum(expected) / count / math.log(2), rel=1e-10)


def test_the_end_of_a_sequence_is_measured_given_what_comes_before_it(tmp_path):
    values = [[10.0, -1.0], [12.0, 0.0], [14.5, -1.5], [9.0, -0.5], [13.0, -2.0]]
    path = written(tmp_path / "a.csv", "x,y\n" + "".join(f"{x},{y}\n" for x, y in values))
    found = material(path, SequenceRules(held_out_share=0.4))
    witness.NUMBERS.write(tmp_path / FILE)
    found.bind(witness.family(), {FILE: tmp_path / FILE})
    scaled = witness.NUMBERS.encode(np.array(values))
    given = witness.log_likelihood(scaled) - witness.log_likelihood(scaled[:3])
    in_data_units = given - 2 * math.log(2.0 * 0.5)
    told = found.evaluate(witness.of_numbers())
    assert list(told) == ["held_out_nats_per_frame", "held_out_frames"]
    assert told["held_out_nats_per_frame"] == pytest.approx(-in_data_units / 2, rel=1e-10)


@pytest.mark.parametrize("scale", [1.0, 1000.0, 1e-3])
def test_nats_are_of_the_datas_own_units_however_it_is_scaled(tmp_path, scale):
    """Data that is `scale` times as large has ln(scale) nats more a frame, with a network that sees the same."""
    found = {}
    for factor in (1.0, scale):
        values = factor * np.random.default_rng(1).normal(size=(20, 2))
        path = written(
            tmp_path / f"{factor}.csv", "x,y\n" + "".join(f"{x!r},{y!r}\n" for x, y in values.tolist())
        )
        rules = SequenceRules(standardise=True, held_out_share=0.2)
        found[factor] = bound(path, tmp_path / f"run {factor}", rules).evaluate(witness.of_numbers())
    nats = [told["held_out_nats_per_frame"] for told in found.values()]
    assert nats[-1] - nats[0] == pytest.approx(2 * math.log(scale), abs=1e-9)


def test_what_is_held_out_and_impossible_is_infinite_and_said_once(tmp_path):
    found = material(written(tmp_path / "a.txt", "aaat"), SequenceRules(held_out_share=0.25))
    witness.LETTERS.write(tmp_path / FILE)
    found.bind(witness.family(), {FILE: tmp_path / FILE})
    network = witness.of_symbols()
    never = {"transition": torch.eye(2).double(), "start": torch.tensor([1.0, 0.0]).double()}
    network.assign(never)
    with pytest.warns(ZooWarning, match=r"impossible under the model.*config\.emission_prior"):
        told = found.evaluate(network)
    assert told == {"held_out_bits_per_symbol": math.inf, "held_out_frames": 1}
    assert found.evaluate(network) == told


def test_text_is_previewed_in_a_text_file(tmp_path):
    found = material(written(tmp_path / "a.txt", "abt "))
    witness.LETTERS.write(tmp_path / FILE)
    found.bind(witness.family(), {FILE: tmp_path / FILE})
    [path] = found.preview(witness.of_symbols(), 2, 7, tmp_path / "step-3")
    first, second = path.read_text().split("\n\n")
    assert (path.name, first.splitlines()[0]) == ("step-3.txt", "=== sample 0, seed 7")
    assert second.splitlines()[0] == "=== sample 1, seed 7"
    assert len(first.splitlines()[1]) == 200
    assert set(first.splitlines()[1]) <= set(" abt")
    assert (
        path.read_bytes() == next(found.preview(witness.of_symbols(), 2, 7, tmp_path / "again")).read_bytes()
    )


@pytest.mark.parametrize(
    ("form", "network"), [(witness.NUMBERS, witness.of_numbers), (witness.BASES, witness.of_symbols)]
)
def test_others_are_previewed_in_a_table_that_is_read_back(tmp_path, form, network):
    content = "x,y\n1,2\n" if form.symbols is None else "base\nA\nC\n"
    found = material(written(tmp_path / "a.csv", content))
    form.write(tmp_path / FILE)
    found.bind(witness.family(), {FILE: tmp_path / FILE})
    [path] = found.preview(network(), 3, 0, tmp_path / "step-3")
    back = read_files(Source(str(path), path=path).files(SUFFIXES), Wanted())
    assert (back.lengths.tolist(), back.format.names) == ([200, 200, 200], form.names)
    if form.symbols is None:
        assert back.values.mean(0)[0] == pytest.approx(10.0 + 2 * 2 / 3, abs=1.5)


def test_it_is_found_by_its_modality(tmp_path):
    path = written(tmp_path / "a.txt", "abab")
    assert reading.rules_class("sequence") is SequenceRules
    assert reading.read("sequence", str(path), ALL, 0).summary == "1 sequence: 4 characters, 2 different ones"


def test_a_table_of_the_hub_is_read_as_sequences(hub):
    columns = {"sequence": ["a", "a", "b"], "x": [0.1, 1 / 3, 2.0]}
    hub.add("user/series", {"train.parquet": parquet(columns)})
    found = reading.read("sequence", "hf:user/series", ALL, 0)
    assert found.summary == "2 sequences: 3 frames of 1 column, 0 sequences held out"
