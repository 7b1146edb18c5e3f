"""What is measured on sequences, against sums over every path of states and a run's own measurement."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import sequence_witness as witness
import zoo
from zoo import api
from zoo.datasets.sequences import SequenceMaterial, SequenceRules
from zoo.errors import DataError, UsageError

pytestmark = pytest.mark.usefixtures("one_thread")

FRAMES = np.array([[10.0, -1.0], [12.0, 0.0], [14.5, -1.5], [9.0, -0.5], [13.0, -2.0]])


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """The witness's models as a run leaves them, loaded."""

    def of(network, form):
        folder = witness.folder(tmp_path_factory.mktemp("model"), network, form)
        return api.load(str(folder), device="cpu")

    return of


@pytest.fixture(scope="module")
def numbers(load):
    return load(witness.of_numbers(), witness.NUMBERS)


@pytest.fixture(scope="module")
def text(load):
    return load(witness.of_symbols(), witness.LETTERS)


def of_numbers(frames):
    """ln p in the data's own units."""
    return witness.log_likelihood(witness.NUMBERS.encode(frames)) - len(frames) * math.log(2.0 * 0.5)


def of_text(said):
    return witness.log_likelihood(witness.LETTERS.encode(said))


def csv(path, sequences):
    rows = (f"{name},{x},{y}\n" for name, frames in sequences.items() for x, y in frames.tolist())
    path.write_text("sequence,x,y\n" + "".join(rows))
    return path


def test_numbers_are_measured_by_the_frame_in_the_units_of_the_data(numbers, tmp_path):
    found = zoo.evaluate(numbers, csv(tmp_path / "a.csv", {"a": FRAMES[:3], "b": FRAMES[3:]}))
    nats = [-of_numbers(FRAMES[:3]), -of_numbers(FRAMES[3:])]
    assert found.nats_per_frame.value == pytest.approx(sum(nats) / 5, rel=1e-10)
    assert (-found.log_likelihoods).tolist() == pytest.approx(nats, rel=1e-10)
    assert list(found.metrics) == ["nats_per_frame"]
    assert (found.sequences, found.frames, found.unit, found.seed) == (2, 5, "frame", None)
    assert found.nats_per_frame.low is None


def test_characters_are_measured_in_bits_and_texts_in_nats(text, tmp_path):
    texts = ["abt", "ta b", "b", " at"]
    for number, said in enumerate(texts):
        (tmp_path / f"{number}.txt").write_text(said)
    found = zoo.evaluate(text, tmp_path)
    nats = -sum(map(of_text, texts))
    assert list(found.metrics) == ["bits_per_character", "nats_per_sequence"]
    bits, each = found.metrics.values()
    assert (bits.samples, bits.of, each.samples, each.of) == (11, "characters", 4, "sequences")
    assert bits.estimate.value == pytest.approx(nats / 11 / math.log(2), rel=1e-10)
    assert each.estimate.value == pytest.approx(nats / 4, rel=1e-10)


def test_other_symbols_stand_in_a_column_of_any_name(load, tmp_path):
    (tmp_path / "a.csv").write_text("what\nA\nG\nT\n")
    found = zoo.evaluate(load(witness.of_symbols(), witness.BASES), tmp_path / "a.csv")
    expected = -witness.log_likelihood(witness.BASES.encode(["A", "G", "T"])) / 3 / math.log(2)
    assert found.metrics["bits_per_symbol"].estimate.value == pytest.approx(expected, rel=1e-10)


def test_of_many_sequences_each_is_a_block(numbers, tmp_path):
    drawn = np.random.default_rng(1)
    sequences = {f"s{at}": drawn.normal((11, -1), (2, 0.5), (1 + at % 4, 2)) for at in range(9)}
    found = zoo.evaluate(numbers, csv(tmp_path / "a.csv", sequences))
    nats = np.array([-of_numbers(frames) for frames in sequences.values()])
    sizes = np.array([len(frames) for frames in sequences.values()])
    rest = nats - nats.sum() / sizes.sum() * sizes
    margin = 2.3060 * math.sqrt(9 / 8 * np.square(rest).sum()) / sizes.sum()
    assert found.blocks == 9
    assert found.nats_per_frame.high - found.nats_per_frame.value == pytest.approx(margin, rel=1e-4)


@pytest.mark.parametrize(("frames", "blocks"), [(1023, 1), (1024, 8), (9300, 9)])
def test_of_a_single_sequence_runs_of_frames_are_the_blocks(numbers, tmp_path, frames, blocks):
    drawn = np.random.default_rng(2).normal((11, -1), (2, 0.5), (frames, 2))
    found = zoo.evaluate(numbers, csv(tmp_path / "a.csv", {"a": drawn}))
    assert (found.blocks, found.nats_per_frame.low is not None) == (blocks, blocks > 1)
    assert found.nats_per_frame.value * frames == pytest.approx(-found.log_likelihoods[0], rel=1e-12)


def material(form, values, network_of=witness.of_numbers, rules=None):
    from zoo.datasets.sequence_gathering import Sequences
    from zoo.datasets.table_columns import unscaled
    from zoo.modality.sequence_format import Format

    lengths = np.array([len(one) for one in values])
    own = Format(form.symbols, unscaled(form.names), form.text)
    names = tuple(map(str, range(len(values))))
    made = SequenceMaterial(
        Sequences(np.concatenate(values), lengths, names, names, own), rules or SequenceRules(), 0
    )
    made.bind_to(witness.family(), form)
    return made, network_of()


def test_a_run_of_frames_is_scored_given_all_before_it():
    made, network = material(witness.NUMBERS, [FRAMES, FRAMES[:2]])
    found, sizes = made.scores(network, whole=True, runs=[2, 1])
    assert sizes.tolist() == [2, 3, 2]
    first = of_numbers(FRAMES[:2])
    assert found.tolist() == pytest.approx([first, of_numbers(FRAMES) - first, first], rel=1e-10)


def test_the_end_of_a_sequence_is_divided_into_runs_too():
    made, network = material(witness.NUMBERS, [FRAMES], rules=SequenceRules(held_out_share=0.8))
    found, sizes = made.scores(network, runs=[2])
    parts = [of_numbers(FRAMES[:end]) for end in (1, 3, 5)]
    assert sizes.tolist() == [2, 2]
    assert found.tolist() == pytest.approx(np.diff(parts).tolist(), rel=1e-10)


def test_what_comes_after_the_impossible_is_impossible():
    made, network = material(
        witness.LETTERS, [np.array([1, 3, 1, 1]), np.array([1, 1])], network_of=witness.of_symbols
    )
    never = {"transition": torch.eye(2).double(), "start": torch.tensor([1.0, 0.0]).double()}
    network.assign(never)
    found, _ = made.scores(network, whole=True, runs=[4, 1])
    assert found.tolist() == [
        pytest.approx(math.log(0.3)),
        *[-math.inf] * 3,
        pytest.approx(2 * math.log(0.3)),
    ]


def test_a_run_is_measured_on_what_it_held_out(tmp_path):
    from zoo.training import run as training
    from zoo.training.recipe import Recipe

    path = tmp_path / "lines.txt"
    lines = [("ab ta b" * 5)[at : at + 9] for at in range(30)]
    path.write_text("\n".join(lines))
    data = {"split": "lines", "held_out_share": 0.3}
    config = {"states": 2, "emission_prior": 0.1}
    begun = training.begin(
        Recipe("hmm", config, str(path), data, {"steps": 2, "seed": 8}), tmp_path / "run", device="cpu"
    )
    list(training.steps(begun))
    found = zoo.evaluate(str(begun.folder), device="cpu")
    assert (found.seed, found.sequences, found.frames) == (8, 9, 81)
    assert found.metrics["bits_per_character"].estimate.value == pytest.approx(begun.best, rel=1e-12)
    assert found.data == f"held out of {path}"
    whole = zoo.evaluate(str(begun.folder), path, device="cpu")
    assert (whole.seed, whole.sequences) == (None, 30)  # lines again, as the run reads them


def test_data_that_is_not_the_models_says_so(numbers, text, tmp_path):
    (tmp_path / "a.csv").write_text("x,z\n1,2\n")
    with pytest.raises(DataError, match=r"a\.csv has no column y; it has x, z"):
        zoo.evaluate(numbers, tmp_path / "a.csv")
    (tmp_path / "a.txt").write_text("abz")
    with pytest.raises(DataError, match="characters that the model does not know: 'z'"):
        zoo.evaluate(text, tmp_path / "a.txt")
    with pytest.raises(DataError, match="the data has symbols, but the network has the columns x, y"):
        zoo.evaluate(numbers, tmp_path / "a.txt")
    with pytest.raises(UsageError, match="is no run with held-out data of its own"):
        zoo.evaluate(text)
    with pytest.raises(UsageError, match=r"weights is 'w', but .* makes sequence"):
        zoo.evaluate(text, tmp_path / "a.txt", weights="w")
