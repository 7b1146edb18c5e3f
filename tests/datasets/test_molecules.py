"""SMILES as rows of token ids: what a token is, which lines are taken or refused, the vocabulary beside weights."""

from __future__ import annotations

import gzip
import json
import zipfile

import numpy as np
import pytest
import torch

from toy_family import Constant, family
from zoo.datasets import molecules, smiles
from zoo.datasets.molecules import MoleculeRules
from zoo.datasets.smiles import END, PADDING, START, Vocabulary
from zoo.datasets.source import Source
from zoo.errors import DataError

ALL = MoleculeRules(held_out_share=0.0)
FEW = "CCO\nc1ccccc1Cl\n[NH3+]CBr\n"


class Ids(Constant):
    """Samples are token ids."""

    def sample(self, count, noise, controls):
        for drawn in super().sample(count, noise, controls):
            yield drawn.long()


def material(path, rules=ALL, seed=0):
    return molecules.read(Source(str(path), path=path), rules, seed)


def bound(path, tmp_path, rules=ALL, seed=0):
    """The material with a vocabulary of its own, and that vocabulary's file."""
    found = material(path, rules, seed)
    found.learn(tmp_path)
    file = tmp_path / "vocabulary.json"
    found.bind(family("molecule"), {"vocabulary.json": file})
    return found, file


def read(path, tmp_path, rules=ALL):
    """All molecules in the order they are read, by way of their rows."""
    found, file = bound(path, tmp_path, rules)
    selection = found._selection(found._train)
    return [
        smiles.read_vocabulary(file).decode(row)
        for row in selection.batch(np.arange(len(selection))).tolist()
    ]


def refused(path, content):
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        material(path)
    return str(raised.value).replace(str(path), "FILE")


def test_two_letters_and_brackets_are_one_token():
    assert smiles.tokens("ClC(Br)[N+](=O)[O-]") == [
        "Cl",
        "C",
        "(",
        "Br",
        ")",
        "[N+]",
        "(",
        "=",
        "O",
        ")",
        "[O-]",
    ]
    assert smiles.tokens("Cc1nBc%12") == [*"Cc1nBc%12"]


def test_rows_are_start_molecule_end_and_padding(tmp_path):
    (tmp_path / "a.smi").write_text(FEW)
    found, file = bound(tmp_path / "a.smi", tmp_path)
    assert json.loads(file.read_text()) == {
        "schema": 1,
        "length": 9,
        "tokens": ["<padding>", "<start>", "<end>", "1", "Br", "C", "Cl", "O", "[NH3+]", "c"],
    }
    rows = found.rows(Constant(torch.zeros(1)), seed=0)
    batch = rows.rows(0, 3)
    assert (batch.dtype, rows.unit, rows.epoch) == (torch.int64, "molecules", 3)
    assert sorted(batch.tolist()) == sorted(
        [
            [START, 5, 5, 7, END, *[PADDING] * 6],
            [START, 9, 3, *[9] * 5, 3, 6, END],
            [START, 8, 5, 4, END, *[PADDING] * 6],
        ]
    )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.smi", FEW),
        ("a.txt", FEW.replace("\n", "\r\n")),
        ("a.smi", "SMILES name\nCCO 1\nc1ccccc1Cl\tphenyl chloride é\n[NH3+]CBr"),
        ("a.smi", "\ufeffCCO\nc1ccccc1Cl\n[NH3+]CBr\n"),
        ("a.csv", 'id,Smiles,split\n1,CCO,train\n2,"c1ccccc1Cl",test\n\n3, [NH3+]CBr ,train\n'),
    ],
)
def test_each_way_to_write_them_is_read_as_the_same_molecules(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    assert read(tmp_path / name, tmp_path) == ["CCO", "c1ccccc1Cl", "[NH3+]CBr"]
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
    assert read(tmp_path / f"{name}.gz", tmp_path) == ["CCO", "c1ccccc1Cl", "[NH3+]CBr"]


def test_a_folder_and_an_archive_are_read_in_order_of_name(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "b.smi").write_text("CC\n")
    (source / "a.smi").write_text("O\n")
    (source / "notes.md").write_text("not SMILES")
    assert read(source, tmp_path) == ["O", "CC"]
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in ("b.smi", "a.smi", "notes.md"):
            archive.write(source / name, name)
    assert read(tmp_path / "all.zip", tmp_path) == ["O", "CC"]


def test_lines_without_a_molecule_are_counted_and_longer_ones_left_out(tmp_path):
    (tmp_path / "a.smi").write_text("CCO\n\n \tname\nC\nCCCCCC\nClCC\n")
    found = material(tmp_path / "a.smi", MoleculeRules(longest=3, held_out_share=0.4))
    assert found.summary == (
        "3 molecules of up to 3 tokens, 1 held out, 1 longer ones left out, 2 empty lines skipped"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"CC\nC\x07C\n", "FILE: line 2 has the control character 0x07"),
        (b"CC name\x1b[31m\n", "FILE: line 1 has the control character 0x1b"),
        (b"CC\nCC\n" + b"C" * 4097, "FILE: line 3 is longer than 4096 bytes"),
        ("C\u00e9\n".encode(), "FILE: line 1 has 'é', which no SMILES has"),
        (b"CC\nC\xff\n", "FILE: line 2 is not UTF-8 text"),
        (b"CC\nC[NH\n", "FILE: line 2 opens or closes a bracket without the other"),
        (b"C]\n", "FILE: line 1 opens or closes a bracket without the other"),
        (b"C[[N]]\n", "FILE: line 1 opens or closes a bracket without the other"),
    ],
)
def test_a_line_that_is_no_molecule_is_refused_with_its_number(tmp_path, content, message):
    assert refused(tmp_path / "a.smi", content) == message


def test_a_table_needs_the_column(tmp_path):
    assert refused(tmp_path / "a.csv", b"id,name\n1,C\n") == "FILE has no column 'smiles', but id, name"
    assert refused(tmp_path / "a.csv", b"") == "FILE has no column 'smiles', but nothing"
    long = b'id,smiles\n1,"' + b"C\n" * 70_000  # a quoted cell may go on over lines
    assert refused(tmp_path / "a.csv", long).endswith("field larger than field limit (131072)")
    assert refused(tmp_path / "a.csv", long[:20]) == "FILE: line 5 has '\\n', which no SMILES has"
    assert refused(tmp_path / "a.csv", b"id,smiles\n1,C\n2\n") == "FILE: line 3 has 1 of 2 columns"


def test_a_damaged_archive_is_refused(tmp_path):
    whole = gzip.compress(b"\n".join(b"C" * (number % 97) for number in range(3000)))
    assert refused(tmp_path / "a.smi.gz", whole[:-100]).startswith("FILE: damaged after line ")
    assert (
        refused(tmp_path / "a.smi.gz", b"CCO\n") == "FILE: damaged after line 0: Not a gzipped file (b'CC')"
    )


def test_what_has_too_many_tokens_is_no_smiles(tmp_path, monkeypatch):
    monkeypatch.setattr(smiles, "MOST_TOKENS", 3)
    assert refused(tmp_path / "a.txt", b"CC\nNO\nS\nF\n") == (
        "FILE: by line 3 there are more than 3 different tokens, so this is no SMILES"
    )


def test_files_without_molecules_are_refused(tmp_path):
    assert "nothing is left to train on" in refused(tmp_path / "a.smi", b"\n\n")


def test_many_molecules_come_back_as_they_were_written(tmp_path, monkeypatch):
    monkeypatch.setattr(molecules, "_ROWS_AT_ONCE", 7)
    draws = np.random.default_rng(0)
    atoms = np.array(["C", "Cl", "[nH]", "Br", "c", "(", "=", "%"])
    written = ["".join(draws.choice(atoms, draws.integers(1, 12))) for _ in range(50)]
    (tmp_path / "a.smi").write_text("\n".join(written))
    assert read(tmp_path / "a.smi", tmp_path) == written


def test_the_config_gets_the_fields_it_has(tmp_path):
    (tmp_path / "a.smi").write_text(FEW)
    found, file = bound(tmp_path / "a.smi", tmp_path)
    assert found.bind(family("molecule"), {"vocabulary.json": file}) == {"vocabulary": 10, "length": 9}
    assert found.bind(family("table"), {"vocabulary.json": file}) == {}


def test_a_network_keeps_its_own_vocabulary(tmp_path):
    (tmp_path / "a.smi").write_text(FEW)
    file = bound(tmp_path / "a.smi", tmp_path)[1]
    (tmp_path / "b.smi").write_text("OO\nCl\n")
    other = material(tmp_path / "b.smi")
    assert other.bind(family("molecule"), {"vocabulary.json": file}) == {"vocabulary": 10, "length": 9}
    assert sorted(other.rows(Constant(torch.zeros(1)), 0).rows(0, 2)[:, 1].tolist()) == [6, 7]
    (tmp_path / "b.smi").write_text("SN\nC\n")
    with pytest.raises(DataError, match="2 tokens of the data are not in the network's vocabulary: N S"):
        material(tmp_path / "b.smi").bind(family("molecule"), {"vocabulary.json": file})
    (tmp_path / "b.smi").write_text("C" * 10)
    with pytest.raises(DataError, match="molecule of 10 tokens, but the network takes 9") as raised:
        material(tmp_path / "b.smi").bind(family("molecule"), {"vocabulary.json": file})
    assert raised.value.hint.endswith("--set data.longest=9")


@pytest.mark.parametrize(
    "said",
    [
        None,
        "{",
        "[]",
        {"schema": 2, "length": 3, "tokens": [*smiles.SPECIAL, "C"]},
        {"schema": 1, "length": 3, "tokens": ["C", "O", "N"]},
        {"schema": 1, "length": 3, "tokens": [*smiles.SPECIAL, "C", "C"]},
        {"schema": 1, "length": 0, "tokens": [*smiles.SPECIAL, "C"]},
        {"schema": 1, "length": 3, "tokens": [*smiles.SPECIAL, ["C"]]},
    ],
)
def test_a_file_that_is_no_vocabulary_is_refused(tmp_path, said):
    file = tmp_path / "vocabulary.json"
    if said is not None:
        file.write_text(said if isinstance(said, str) else json.dumps(said))
    with pytest.raises(DataError, match=r"vocabulary\.json is not a vocabulary of SMILES tokens"):
        smiles.read_vocabulary(file)


def test_without_a_vocabulary_nothing_is_encoded(tmp_path):
    (tmp_path / "a.smi").write_text(FEW)
    found = material(tmp_path / "a.smi")
    with pytest.raises(DataError, match="no vocabulary yet"):
        found.rows(Constant(torch.zeros(1)), 0)
    with pytest.raises(DataError, match=r"there is no vocabulary\.json"):
        found.bind(family("molecule"), {})


def test_a_text_is_decoded_up_to_its_end():
    known = Vocabulary((*smiles.SPECIAL, "C", "[O-]"), 4)
    assert known.decode([START, 3, 4, END, 3]) == "C[O-]"
    assert known.decode([3, PADDING, 4]) == "C"


def test_held_out_molecules_are_measured(tmp_path):
    (tmp_path / "a.smi").write_text("".join(f"{'C' * size}\n" for size in range(1, 11)))
    found, _ = bound(tmp_path / "a.smi", tmp_path, MoleculeRules(held_out_share=0.3), seed=2)
    network = Constant(torch.zeros(1))
    trained = {int((row == 3).sum()) for row in found.rows(network, 0).rows(0, 7)}
    assert len(trained) == 7
    sizes = set(range(1, 11)) - trained
    witness = np.mean([(START + END + 3 * size) / 12 for size in sizes])
    assert found.evaluate(network) == {"held_out_loss": pytest.approx(witness)}


def test_a_preview_is_a_file_of_smiles(tmp_path):
    (tmp_path / "a.smi").write_text(FEW)
    found, _ = bound(tmp_path / "a.smi", tmp_path)
    [path] = found.preview(Ids(torch.tensor([1.0, 5, 7, 2, 9])), 2, seed=0, stem=tmp_path / "step-1")
    assert path == tmp_path / "step-1.smi"
    assert path.read_text() == "CO\nCO\n"
