"""SequenceModel: what a person gives and gets, and its numbers against every path of states."""

from __future__ import annotations

import collections
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import sequence_witness as witness
import zoo
from zoo.datasets.table_columns import unscaled
from zoo.errors import CapabilityError, DataError, UsageError, WeightsError
from zoo.modality.sequence import SequenceControls
from zoo.modality.sequence_format import LETTERS, Format
from zoo.modality.sequence_model import SequenceModel

pytestmark = pytest.mark.usefixtures("one_thread")

FRAMES = np.array([[10.0, -1.0], [12.0, 0.0], [14.5, -1.5], [9.0, -0.5]])
LOG_SCALE = math.log(2.0 * 0.5)  # of witness.NUMBERS, for a frame


def model(form: Format, network=None) -> SequenceModel:
    made = network or (witness.of_numbers() if form.symbols is None else witness.of_symbols())
    return SequenceModel("small", witness.family(), made.config, made, {}, format=form)


TEXT, BASES, NUMBERS = witness.LETTERS, witness.BASES, witness.NUMBERS


# Sampling


def test_text_comes_as_text_symbols_as_lists_and_numbers_as_frames_in_their_own_units():
    [text] = model(TEXT).sample(length=30)
    [symbols] = model(BASES).sample(length=30)
    [frames] = model(NUMBERS).sample(length=3000)
    assert (len(text), set(text) <= set(" abt")) == (30, True)
    assert [" abt"["ACGT".index(symbol)] for symbol in symbols] == list(text)
    assert frames.shape == (3000, 2)
    share = 2 / 3  # of the first state in the long run
    expected = [10 + 2 * (1 - share) * 2.0, -1 + 0.5 * (share * 1.0 - (1 - share) * 1.0)]
    assert frames.mean(0) == pytest.approx(expected, abs=0.25)


@pytest.mark.parametrize("form", [TEXT, BASES, NUMBERS])
def test_a_sample_depends_on_the_seed_and_its_number_alone(form):
    def drawn(**how):
        return [
            (sample.index, str(sample.drawn), sample.states.tolist())
            for sample in model(form).samples(length=20, **how)
        ]

    eight = drawn(count=8, seed=3)
    assert [index for index, *_ in eight] == list(range(8))
    assert drawn(count=3, seed=3, start=2) == eight[2:5]
    assert drawn(count=8, seed=3, batch_size=3) == eight
    assert drawn(count=8, seed=4) != eight
    assert len({text for _, text, _ in eight}) == 8


def test_the_states_that_are_told_are_those_that_the_frames_come_from():
    for sample in model(TEXT).samples(count=20, length=50):
        assert sample.states.shape == (50,)
        from_first = {letter for letter, state in zip(sample.drawn, sample.states, strict=True) if state == 0}
        assert "t" not in from_first


def test_what_is_given_is_gone_on_from_and_stands_before():
    [sample] = model(TEXT).samples("ab ", length=5)
    assert (sample.prompt, sample.whole) == ("ab ", "ab " + sample.drawn)
    assert next(model(TEXT).sample(prompt="ab ", length=5)) == sample.whole
    [listed] = model(BASES).samples(["C", "G"], length=5)
    assert (listed.prompt, listed.whole) == (["C", "G"], ["C", "G", *listed.drawn])
    assert next(model(BASES).samples(prompt=["C", "G"], length=5)).whole == listed.whole
    assert next(model(BASES).sample(controls=SequenceControls("C G", 5))) == listed.whole
    for given in (FRAMES, torch.tensor(FRAMES), FRAMES.tolist()):
        [numbers] = model(NUMBERS).samples(given, length=5)
        np.testing.assert_allclose(numbers.prompt, FRAMES)
        np.testing.assert_allclose(numbers.whole, np.concatenate([FRAMES, numbers.drawn]))
    [alone] = model(TEXT).samples("", length=5)
    assert (alone.prompt, alone.whole) == (None, alone.drawn)


def test_the_next_symbol_after_a_prompt_is_as_likely_as_all_paths_say():
    base = witness.log_likelihood(TEXT.encode("ta"))
    expected = [math.exp(witness.log_likelihood(TEXT.encode("ta" + symbol)) - base) for symbol in " abt"]
    drawn = collections.Counter(model(TEXT).sample("ta", count=4000, length=1, batch_size=1000))
    counts = [drawn["ta" + symbol] for symbol in " abt"]
    assert stats.chisquare(counts, [4000 * share for share in expected]).pvalue > 1e-3


def test_text_streams_in_pieces_that_join_to_the_samples():
    found = model(TEXT)
    pieces = list(found.stream("ab", count=3, seed=2, length=300, batch_size=2))
    texts = collections.defaultdict(str)
    for piece in pieces:
        texts[piece.index] += piece.text
    whole = {sample.index: sample.drawn for sample in found.samples("ab", count=3, seed=2, length=300)}
    assert texts == whole
    finished = [piece.sample for piece in pieces if piece.sample]
    assert [(one.index, one.seed, one.prompt, one.finish) for one in finished] == [
        (index, 2, "ab", "length") for index in range(3)
    ]
    assert ["".join(" abt"[token] for token in one.tokens) for one in finished] == list(whole.values())
    assert max(len(piece.text) for piece in pieces) < 300
    with pytest.raises(CapabilityError, match="small writes no text"):
        next(model(BASES).stream())


def test_a_prompt_for_a_model_of_letters_is_folded():
    network = nn_like(27)
    letters = Format(tuple(LETTERS), unscaled(("symbol",)), text=True, letters=True)
    [sample] = model(letters, network).samples("To be, OR ", length=3)
    assert sample.prompt == "to be or "


@pytest.mark.parametrize(
    ("form", "how", "error", "said"),
    [
        (TEXT, {"prompt": "abc"}, DataError, "the prompt has characters that the model does not know: 'c'"),
        (BASES, {"controls": SequenceControls("A X")}, DataError, "the prompt has symbols .*: 'X'"),
        (NUMBERS, {"controls": SequenceControls("1 2")}, UsageError, "the frames of small are numbers: x, y"),
        (NUMBERS, {"prompt": [1.0, 2.0]}, DataError, r"the prompt has the shape \(2, 1\)"),
        (TEXT, {"count": 0}, UsageError, "count is 0"),
        (TEXT, {"batch_size": 0}, UsageError, "batch_size is 0"),
        (TEXT, {"length": 0}, UsageError, "length is 0"),
        (TEXT, {"lenght": 5}, UsageError, "did you mean 'length'"),
        (TEXT, {"length": 5, "controls": SequenceControls()}, UsageError, "either controls or length"),
    ],
)
def test_what_cannot_be_asked_is_told(form, how, error, said):
    with pytest.raises(error, match=said):
        list(model(form).samples(**how))


def test_nothing_goes_on_from_a_prompt_that_is_impossible():
    network = witness.of_symbols()
    network.assign({"transition": torch.eye(2).double(), "start": torch.tensor([1.0, 0.0]).double()})
    with pytest.raises(DataError, match="probability 0"):
        list(model(TEXT, network).samples("t"))


# Likelihoods and states


@pytest.mark.parametrize("text", ["a", "abt ", "tttab"])
def test_log_prob_of_text_is_the_sum_over_all_paths(text):
    [found] = model(TEXT).log_prob(text)
    assert found == pytest.approx(witness.log_likelihood(TEXT.encode(text)), rel=1e-12)


def test_log_prob_of_numbers_is_in_their_own_units():
    [found] = model(NUMBERS).log_prob(FRAMES)
    expected = witness.log_likelihood(NUMBERS.encode(FRAMES)) - 4 * LOG_SCALE
    assert found == pytest.approx(expected, rel=1e-12)


def test_sequences_are_scored_together_as_alone_in_the_order_given():
    texts = ["ab", "t", "a b a b a", "bb"]
    alone = [model(TEXT).log_prob(text)[0] for text in texts]
    assert model(TEXT).log_prob(texts) == pytest.approx(alone, rel=1e-12)
    assert model(TEXT).log_prob(texts, batch_size=1) == pytest.approx(alone, rel=1e-12)
    symbols = [["C", "G"], ["T"]]
    expected = [witness.log_likelihood(BASES.encode(one)) for one in symbols]
    assert model(BASES).log_prob(symbols) == pytest.approx(expected)
    pair = [FRAMES, FRAMES[:2]]
    assert model(NUMBERS).log_prob(pair)[0] == pytest.approx(model(NUMBERS).log_prob(FRAMES)[0], rel=1e-12)
    assert model(NUMBERS).log_prob(np.stack([FRAMES, FRAMES]))[1] == pytest.approx(
        model(NUMBERS).log_prob(pair)[0], rel=1e-12
    )


def test_an_impossible_sequence_has_minus_infinity():
    network = witness.of_symbols()
    network.assign({"transition": torch.eye(2).double(), "start": torch.tensor([1.0, 0.0]).double()})
    impossible = model(TEXT, network)
    assert impossible.log_prob(["at", "aa"])[0] == -math.inf
    for refused in (impossible.states, impossible.posterior, impossible.predict_next):
        with pytest.raises(DataError, match="sequence 1 has probability 0 under the model"):
            refused(["aa", "at", "aaaaa"])


@pytest.mark.parametrize(("form", "given"), [(TEXT, "abt ta"), (NUMBERS, FRAMES)])
def test_states_are_the_likeliest_of_all_paths(form, given):
    found = model(form)
    all_paths = witness.paths(form.encode(given))
    best = max(all_paths, key=all_paths.__getitem__)
    [path], [value] = found.paths(given)
    assert path.tolist() == list(best)
    assert found.states(given)[0].tolist() == list(best)
    assert value == pytest.approx(
        math.log(all_paths[best]) - (0 if form is TEXT else len(FRAMES) * LOG_SCALE)
    )


def test_states_and_posteriors_end_with_their_sequence():
    texts = ["ab", "t", "abba"]
    assert [path.shape for path in model(TEXT).states(texts)] == [(2,), (1,), (4,)]
    tables = model(TEXT).posterior(texts)
    assert [table.shape for table in tables] == [(2, 2), (1, 2), (4, 2)]
    for text, table in zip(texts, tables, strict=True):
        all_paths = witness.paths(TEXT.encode(text))
        total = sum(all_paths.values())
        for time in range(len(text)):
            first = sum(value for path, value in all_paths.items() if path[time] == 0) / total
            assert table[time].tolist() == pytest.approx([first, 1 - first])


def test_what_comes_next_is_predicted_by_symbol_or_as_a_mean_in_data_units():
    base = witness.log_likelihood(TEXT.encode("ta"))
    expected = [math.exp(witness.log_likelihood(TEXT.encode("ta" + symbol)) - base) for symbol in " abt"]
    [short, found] = model(TEXT).predict_next(["a", "ta"])
    assert found.frame.tolist() == pytest.approx(expected)
    assert short.states.sum() == pytest.approx(1)
    [numbers] = model(NUMBERS).predict_next(FRAMES)
    scaled = numbers.states @ np.array(witness.MEANS)
    assert numbers.frame.tolist() == pytest.approx((scaled * [2.0, 0.5] + [10.0, -1.0]).tolist())


@pytest.mark.parametrize("given", [[], [""], ["ab", ""]])
def test_nothing_cannot_be_scored(given):
    with pytest.raises(UsageError, match=r"no sequence was given|is empty"):
        model(TEXT).log_prob(given)


def test_unknown_symbols_are_named_with_their_sequence():
    with pytest.raises(DataError, match="sequence 1 has characters that the model does not know: 'x'"):
        model(TEXT).log_prob(["ab", "ax"])


# Opening


def test_a_folder_is_opened_with_what_a_frame_is(tmp_path):
    found = zoo.load(str(witness.folder(tmp_path / "run", witness.of_symbols(), TEXT)), device="cpu")
    assert isinstance(found, SequenceModel)
    assert (found.format.symbols, found.format.text) == (TEXT.symbols, True)
    assert next(found.sample(length=4)) == next(model(TEXT).sample(length=4))
    scores = zoo.score(found, ["ab", "t"])
    assert scores.items == model(TEXT).log_prob(["ab", "t"])


def test_without_that_file_frames_are_numbers_as_they_are(tmp_path):
    folder = witness.folder(tmp_path / "run", witness.of_numbers(), NUMBERS)
    (folder / "sequence.json").unlink()
    found = zoo.load(str(folder), device="cpu")
    assert (found.format.names, found.format.columns.plain) == (("c0", "c1"), True)
    folder = witness.folder(tmp_path / "symbols", witness.of_symbols(), BASES)
    (folder / "sequence.json").unlink()
    [drawn] = zoo.load(str(folder), device="cpu").sample(length=4)
    assert (drawn.shape, drawn.dtype.kind) == ((4, 1), "i")


def test_a_file_of_another_model_beside_the_weights_is_refused(tmp_path):
    three = Format(("a", "b", "c"), unscaled(("symbol",)))
    one = Format(None, unscaled(("x",)))
    for network, form, said in (
        (witness.of_symbols(), three, "names 3 symbols, but the network has 4"),
        (witness.of_numbers(), one, "names 1 columns, but the network has 2"),
    ):
        folder = witness.folder(tmp_path / said, network, form)
        with pytest.raises(WeightsError, match=said):
            zoo.load(str(folder), device="cpu")


class Steps(nn.Module):
    """A network that tells no states and has nothing but `sample`: frames count on from what was given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.config = None

    def sample(self, count, noise, controls, prefix=None):
        first = 0.0 if prefix is None else float(prefix["values"][0, -1, 0]) + 1
        steps = first + torch.arange(controls.length, dtype=torch.float32)
        yield (steps + 10 * torch.arange(noise.start, noise.start + count)[:, None])[..., None]


def test_a_network_without_hidden_states_samples_too():
    found = model(Format(None, unscaled(("x",))), Steps())
    [sample] = found.samples([5.0, 6.0], start=1, length=2)
    assert (sample.states, sample.drawn.tolist()) == (None, [[17.0], [18.0]])
    for wanted in (found.states, found.log_prob, found.posterior, found.predict_next):
        with pytest.raises(CapabilityError, match="small: the network has no `"):
            wanted(np.ones((1, 1)))


def nn_like(symbols: int):
    """A model of one state and so many equally likely symbols."""
    from zoo_classic.hmm import HMM
    from zoo_classic.hmm_config import HMMConfig

    made = HMM(HMMConfig(states=1, emissions="categorical", symbols=symbols))
    made.assign({"emissions.probabilities": torch.full((1, symbols), 1 / symbols).double()})
    return made.eval()
