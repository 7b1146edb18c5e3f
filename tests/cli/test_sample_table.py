"""zoo sample for tables: rows for a pipe, a person and a program, saved and drawn; what is given."""

from __future__ import annotations

import csv
import io
import json
import re
import sys

import numpy as np
import pytest
from PIL import Image

from cli.json_shapes import documented, shape
from table_runs import mixture_run
from zoo.datasets.table_columns import ImageShape
from zoo.datasets.table_files import read_table

NAMES = ("height, in cm", "weight", "age")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return str(mixture_run(tmp_path_factory.mktemp("table") / "people", NAMES))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A model whose rows are images of 2x3 gray pixels, all about 255 but the first two."""
    image = ImageShape(2, 3, 1)
    means, scale = (0, 0, 255, 255, 255, 255), (1e-6,) * 6
    return str(
        mixture_run(
            tmp_path_factory.mktemp("images") / "pixels", image.names(), mean=means, scale=scale, image=image
        )
    )


@pytest.fixture(scope="module")
def rows(run):
    """Ten rows by the Python interface."""
    import zoo

    return zoo.load(run).draw(10, seed=7).values


def cells(text):
    names, *lines = csv.reader(io.StringIO(text))
    return tuple(names), np.array(lines, np.float64)


def size(path):
    with Image.open(path) as image:
        return image.size


def test_a_pipe_gets_csv_with_all_digits(zoo, run, rows):
    ran = zoo("sample", run, "-n", "10", "--seed", "7")
    names, values = cells(ran.out)
    assert (ran.code, ran.err, names) == (0, "", NAMES)
    assert (values == rows).all()


@pytest.mark.parametrize("words", [["--start", "4"], ["--start", "4", "--batch-size", "2"]])
def test_a_row_depends_on_the_seed_and_its_index_alone(zoo, run, rows, words):
    ran = zoo("sample", run, "-n", "5", "--seed", "7", *words)
    assert (cells(ran.out)[1] == rows[4:9]).all()


def test_json_has_one_object_a_row(zoo, run, rows):
    ran = zoo("sample", run, "-n", "2", "--start", "3", "--seed", "7", "--json")
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert shape(found[0]).keys() == documented("zoo sample MODEL --json, of tables").keys()
    assert found == [
        {"index": index, "seed": 7, "values": dict(zip(NAMES, rows[index].tolist(), strict=True))}
        for index in (3, 4)
    ]


def test_without_a_seed_it_is_random_and_said(zoo, run):
    one, other = zoo("sample", run), zoo("sample", run)
    assert one.out != other.out
    seed = re.fullmatch(r"seed (\d+)\n", one.err)[1]
    assert zoo("sample", run, "--seed", seed).out == one.out
    assert zoo("sample", run, "--quiet").err == ""


def test_a_terminal_shows_the_first_rows(zoo, run, rows):
    ran = zoo("sample", run, "-n", "30", "--seed", "7", terminal=True)
    head, *lines = re.sub(r"\x1b\[[\d;]*m", "", ran.out).splitlines()
    assert head.split() == ["height,", "in", "cm", "weight", "age"]
    assert len(lines) == 20
    for number, line in enumerate(lines[:10]):
        index, *values = line.split()
        assert int(index) == number
        assert [float(value) for value in values] == pytest.approx(rows[number], abs=1e-3)
    assert "... and 10 more rows; -o FILE.csv saves all" in ran.err


def test_columns_that_do_not_fit_are_counted(zoo, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "28")
    ran = zoo("sample", run, "-n", "2", "--seed", "7", terminal=True)
    assert "height, in cm" in ran.out
    assert "age" not in ran.out
    assert "... and 1 more column; -o FILE.csv saves all" in ran.err


def test_images_are_drawn_on_a_terminal(zoo, pictures, monkeypatch):
    monkeypatch.setenv("COLUMNS", "16")
    monkeypatch.setenv("NO_COLOR", "1")
    ran = zoo("sample", pictures, "-n", "20", "--seed", "1", "-q", terminal=True)
    assert ran.out.splitlines()[:3] == ["    @@      @@", "@@@@@@  @@@@@@", ""]
    assert len(ran.out.splitlines()) == 8 * 3 - 1
    assert "... and 4 more images; -o FILE.png draws all" in ran.err
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("COLORTERM", "truecolor")
    ran = zoo("sample", pictures, "-n", "1", "--seed", "1", terminal=True)
    assert ran.out.count("▀") == 3
    assert ran.out.startswith("\x1b[38;2;0;0;0;48;2;255;255;255m▀")


def test_an_image_wider_than_the_terminal_is_thinned_out(zoo, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("NO_COLOR", "1")
    image = ImageShape(4, 30, 1)
    folder = mixture_run(tmp_path, image.names(), mean=(128,) * 120, scale=(1,) * 120, image=image)
    ran = zoo("sample", str(folder), "--seed", "1", terminal=True)
    assert [len(line) for line in ran.out.splitlines()] == [20, 20]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_rows_are_saved_with_the_names_of_their_columns(zoo, run, rows, tmp_path, suffix):
    path = tmp_path / "new" / f"drawn{suffix}"
    ran = zoo("sample", run, "-n", "10", "--seed", "7", "--batch-size", "3", "-o", str(path))
    assert ran == type(ran)(0, "", f"saved 10 rows to {path}\n")
    assert read_table(path).names == NAMES
    assert (read_table(path).values == rows).all()
    assert zoo("sample", run, "-o", str(path)).code == 2
    assert zoo("sample", run, "--seed", "1", "-o", str(path), "--yes").code == 0
    assert len(read_table(path).values) == 1


def test_json_lines_are_those_of_the_output(zoo, run, tmp_path):
    path = tmp_path / "a.jsonl"
    ran = zoo("sample", run, "-n", "3", "--seed", "7", "--json", "-o", str(path))
    assert ran.out == path.read_text(encoding="utf-8")


def test_a_plot_is_drawn(zoo, run, tmp_path):
    path = tmp_path / "plot.png"
    ran = zoo("sample", run, "-n", "10", "--seed", "7", "-o", str(path))
    assert (ran.code, ran.err) == (0, f"drew 10 rows to {path}\n")
    assert size(path)[0] > 500


def test_a_plot_draws_no_more_rows_than_it_shows(zoo, run, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.modality.plots.MOST_ROWS", 4)
    ran = zoo("sample", run, "-n", "10", "--seed", "7", "-o", str(tmp_path / "a.png"))
    assert ran.err == f"drew the first 4 of 10 rows to {tmp_path / 'a.png'}\n"
    ran = zoo("sample", run, "-n", "10", "--seed", "7", "--json", "-o", str(tmp_path / "b.png"))
    assert len(ran.out.splitlines()) == 10
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_images_are_drawn_as_a_grid(zoo, pictures, tmp_path):
    path = tmp_path / "grid.png"
    ran = zoo("sample", pictures, "-n", "4", "--seed", "7", "-o", str(path))
    assert (ran.code, ran.err) == (0, f"drew 4 images to {path}\n")
    assert size(path) == (2 + 2 * (48 + 2), 2 + 2 * (32 + 2))
    ran = zoo("sample", pictures, "-n", "20000", "-o", str(tmp_path / "b.png"))
    assert (ran.code, "room for 10,000 images at most" in ran.err) == (2, True)
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize(
    ("module", "suffix", "package"),
    [("pyarrow", ".parquet", "parquet"), ("matplotlib.figure", ".png", "plots")],
)
def test_what_is_not_installed_is_said_before_anything_is_drawn(
    zoo, run, tmp_path, monkeypatch, module, suffix, package
):
    monkeypatch.setitem(sys.modules, module, None)
    ran = zoo("sample", run, "-n", "3", "-o", str(tmp_path / f"a{suffix}"))
    assert ran.code == 1
    assert f"hint: pip install 'zoo-core[{package}]'" in ran.err
    assert list(tmp_path.glob("*a*")) == []


def test_a_terminal_counts_the_rows(zoo, run, tmp_path):
    words = ["sample", run, "-n", "5", "--batch-size", "2", "--seed", "1", "-o"]
    ran = zoo(*words, str(tmp_path / "a.csv"), terminal=True)
    assert "\r\x1b[K2 of 5 rows\r\x1b[K4 of 5 rows\r\x1b[K5 of 5 rows\r\x1b[K" in ran.err
    assert ran.out == ""
    assert zoo(*words, str(tmp_path / "b.csv"), "--quiet", terminal=True).err == ""


def test_given_columns_are_kept_and_the_others_drawn_given_them(zoo, run):
    words = ["--given", "height, in cm=200.1", "--given", "age=33"]
    _, values = cells(zoo("sample", run, "-n", "300", "--seed", "1", *words).out)
    assert (values[:, [0, 2]] == [200.1, 33]).all()
    assert len(set(values[:, 1].tolist())) == 300
    assert values[:, 1].mean() == pytest.approx(70 + 8 * (0.7 + 0.8 * (3.01 - 0.7)), abs=1.5)


@pytest.mark.parametrize(
    ("words", "said", "hint"),
    [
        (["--given", "wieght=1"], "given names the column 'wieght', but the columns are", "mean 'weight'?"),
        (["--given", "weight"], "given is 'weight', but must be NAME=VALUE", "as in height, in cm=1.5"),
        (["--given", "weight=nan"], "given is 'nan' for the column 'weight'", ""),
        (["-o", "a.txt"], "cannot write rows to a.txt", ".csv, .tsv, .parquet, .npy, .jsonl or .png"),
        (["-o", f"{__file__}/a.csv"], f"cannot write to {__file__}/a.csv: Not a directory", ""),
        (["-n", "0"], "--count", ""),
        (["--temperature", "1"], "--temperature", ""),
    ],
)
def test_what_cannot_be_asked_is_said(zoo, run, words, said, hint):
    ran = zoo("sample", run, *words)
    assert (ran.code, ran.out) == (2, "")
    lines = [line for line in ran.err.splitlines() if not line.startswith("seed")]
    assert said in lines[0]
    assert hint in lines[-1]


def test_names_reach_a_terminal_without_control_characters(zoo, tmp_path):
    names = ("a\x1b[2J", "b\u202e")
    folder = mixture_run(tmp_path / "run", names, mean=(0, 0), scale=(1, 1))
    for terminal in (False, True):
        ran = zoo("sample", str(folder), "--seed", "1", terminal=terminal)
        assert "\x1b[2J" not in ran.out
        assert "\u202e" not in ran.out
    said = json.loads(zoo("sample", str(folder), "--json").out)
    assert tuple(said["values"]) == names


def test_an_interrupted_run_keeps_the_rows_it_drew_and_says_how_many_but_no_plot(
    zoo, run, tmp_path, monkeypatch
):
    from zoo.modality.table_model import TableModel

    def interrupted(self, *words, **options):
        yield np.zeros((2, 3))
        raise KeyboardInterrupt

    monkeypatch.setattr(TableModel, "parts", interrupted)
    file, plot = tmp_path / "a.csv", tmp_path / "a.png"
    ran = zoo("sample", run, "-n", "4", "-o", str(file), "--seed", "1")
    assert (ran.code, ran.err) == (130, f"interrupted; 2 of 4 rows saved to {file}\n")
    assert len(file.read_text().splitlines()) == 1 + 2
    ran = zoo("sample", run, "-n", "4", "-o", str(plot), "--seed", "1")
    assert (ran.code, ran.err) == (130, f"interrupted; no row was saved to {plot}\n")
    assert list(tmp_path.glob("*a*")) == [file]


def test_the_help_of_a_model_shows_what_may_be_given(zoo, run):
    ran = zoo("sample", run, "--help")
    assert ran.code == 0
    assert "NAME=VALUE" in ran.out
    assert ".parquet" in ran.out


def test_drawn_rows_have_the_component_they_were_drawn_from(zoo, tmp_path):
    """As scoring finds it where components are far apart, and the rows are those without labels."""
    run = str(mixture_run(tmp_path / "run", NAMES))
    plain, ran = (zoo("sample", run, "-n", "6", "--seed", "1", *more) for more in ((), ("--labels",)))
    lines = list(csv.reader(ran.out.splitlines()))
    assert lines[0] == ["component", "responsibility", *NAMES]
    assert [line[2:] for line in lines] == list(csv.reader(plain.out.splitlines()))
    assert {line[0] for line in lines[1:]} == {"0", "1"}
    (tmp_path / "drawn.csv").write_text(plain.out)
    said = json.loads(zoo("score", run, str(tmp_path / "drawn.csv"), "--labels", "--json").out)["items"]
    for line, item in zip(lines[1:], said, strict=True):
        same = int(line[0]) == item["component"]
        share = item["responsibility"] if same else 1 - item["responsibility"]
        assert float(line[1]) == pytest.approx(share)
    some = zoo("sample", run, "-n", "2", "--start", "3", "--seed", "1", "--labels").out
    assert list(csv.reader(some.splitlines()))[1:] == lines[4:6]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".npy", ".jsonl"])
def test_labels_are_saved(zoo, tmp_path, suffix):
    run = str(mixture_run(tmp_path / "run", NAMES))
    path = tmp_path / f"a{suffix}"
    ran = zoo("sample", run, "-n", "3", "--seed", "1", "--labels", "-o", str(path), "--json")
    said = [json.loads(line) for line in ran.out.splitlines()]
    one = said[0] | {"values": {"weight": said[0]["values"]["weight"]}}
    assert shape(one) == documented("zoo sample MODEL --labels --json, of tables")
    expected = [[one["component"], one["responsibility"], *one["values"].values()] for one in said]
    if suffix == ".jsonl":
        assert path.read_text() == ran.out
    else:
        found = read_table(path)
        assert found.values.tolist() == expected
        assert suffix == ".npy" or found.names == ("component", "responsibility", *NAMES)


def test_labels_that_cannot_be_are_refused(zoo, tmp_path):
    run = str(mixture_run(tmp_path / "run", NAMES))
    ran = zoo("sample", run, "--labels", "-o", str(tmp_path / "a.png"))
    assert (ran.code, "a picture has no labels" in ran.err) == (2, True)
    other = str(mixture_run(tmp_path / "other", ("component", "x"), mean=(0, 0), scale=(1, 1)))
    ran = zoo("sample", other, "--labels")
    assert (ran.code, "has a column 'component' itself" in ran.err) == (2, True)
