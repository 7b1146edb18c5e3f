"""TextModel: prompts, ends, indices and refusals, on a network whose next token is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Any, ClassVar

import pytest
from torch import nn

from byte_tokenizer import END, ByteTokenizer
from zoo.errors import CapabilityError, UsageError, WeightsError
from zoo.family import Family
from zoo.modality.text import TextControls, TextSample
from zoo.modality.text_model import TextModel
from zoo.noise import Noise


class Counting(nn.Module):
    """Continues each prompt with its sample's index and the letters a, b, c, ...; ends after `letters` of them."""

    def __init__(self, context: int = 100, letters: int = 30, vocabulary: int = 257) -> None:
        super().__init__()
        self.context, self.letters, self.vocabulary = context, letters, vocabulary
        self.batches: list[int] = []
        self.steps = 0
        self.prompts: list[str] = []

    def sample(
        self, prompts: Sequence[Sequence[int]], noise: Noise, controls: TextControls, done: Set[int]
    ) -> Iterator[list[int | None]]:
        self.batches.append(len(prompts))
        self.prompts += [bytes(token for token in prompt if token < END).decode() for prompt in prompts]
        script = [f"{noise.start + row}" + "abcdefghijklmnopqrstuvwxyz" for row in range(len(prompts))]
        for at in range(min(controls.max_tokens, self.context - max(map(len, prompts)))):
            if len(done) == len(prompts):
                return
            self.steps += 1
            ended = at >= self.letters
            yield [
                None if row in done else END if ended else ord(text[at]) for row, text in enumerate(script)
            ]


def model(tokenizer: Any = ByteTokenizer(), **settings: int) -> TextModel:  # noqa: B008 - it holds no state
    family = Family("counting", "text", "", "", "zoo.modality.text:TextControls")
    return TextModel("counting", family, None, Counting(**settings), {}, tokenizer=tokenizer)


def test_sample_yields_prompt_and_continuation_in_order_of_index() -> None:
    assert list(model().sample("> ", count=3, seed=7, max_tokens=3)) == ["> 0ab", "> 1ab", "> 2ab"]


def test_samples_are_drawn_in_batches_and_numbered_from_start() -> None:
    drawn = model()
    samples = list(drawn.samples("x", count=5, start=2, batch_size=2, max_tokens=2, seed=9))
    assert [sample.index for sample in samples] == [2, 3, 4, 5, 6]
    assert [sample.text for sample in samples] == ["2a", "3a", "4a", "5a", "6a"]
    assert drawn.network.batches == [2, 2, 1]


def test_a_finished_sample_says_all_of_itself() -> None:
    [sample] = model().samples("x", max_tokens=3, seed=9)
    assert sample == TextSample(0, 9, "x", "0ab", (48, 97, 98), "length")


def test_an_end_token_ends_the_sample_and_is_not_part_of_it() -> None:
    [sample] = model(letters=2).samples("x")
    assert (sample.text, sample.tokens, sample.finish) == ("0a", (48, 97), "end")


def test_a_stop_text_ends_the_sample_and_the_work() -> None:
    drawn = model()
    [sample] = drawn.samples("x", stop="cd")
    assert (sample.text, sample.finish) == ("0ab", "stop")
    assert drawn.network.steps == 5


def test_the_context_ends_a_sample() -> None:
    [sample] = model(context=5).samples("xyz")
    assert (sample.text, sample.finish) == ("0a", "length")


def test_streamed_pieces_join_to_the_samples_text() -> None:
    pieces = list(model().stream("x", count=2, max_tokens=6, stop="de"))
    for index in (0, 1):
        own = [piece for piece in pieces if piece.index == index]
        assert own[-1].sample is not None
        assert "".join(piece.text for piece in own) == own[-1].sample.text == f"{index}abc"
        assert len(own) > 2


def test_each_sample_may_have_its_own_prompt() -> None:
    assert list(model().sample(["a", "bcd"], max_tokens=1)) == ["a0", "bcd1"]


def test_a_prompt_longer_than_the_context_is_refused_with_both_lengths() -> None:
    with pytest.raises(
        UsageError, match=r"the prompt is 10 tokens long, but the context of counting is 10 tokens"
    ):
        list(model(context=10).sample("x" * 10))


def test_truncate_left_keeps_the_end_of_the_prompt_and_room_for_the_answer() -> None:
    [sample] = model(context=10).samples("abcdefghijkl", max_tokens=3, truncate="left")
    assert (sample.text, sample.finish) == ("0ab", "length")
    assert model(context=10).encode_prompt(
        "abcdefghijkl", TextControls(max_tokens=3, truncate="left")
    ) == list(b"fghijkl")


def test_truncate_left_keeps_what_the_tokenizer_puts_in_front_of_every_text() -> None:
    class Begun(ByteTokenizer):
        def encode(self, text: str) -> list[int]:
            return [END, *text.encode()]

    controls = TextControls(max_tokens=3, truncate="left")
    tokens = model(Begun(), context=10).encode_prompt("abcdefghijkl", controls)
    assert tokens == [END, *b"ghijkl"]


def test_token_ids_that_the_network_does_not_know_are_refused() -> None:
    drawn = model(vocabulary=100)
    said = "token id 120, but the network of counting knows 0 to 99"
    with pytest.raises(WeightsError, match=said):
        list(drawn.samples("abcx"))
    with pytest.raises(WeightsError, match=said):
        list(drawn.stream_tokens([97, 120], controls=TextControls()))
    assert drawn.network.steps == 0
    assert list(drawn.sample("abc", max_tokens=1)) == ["abc0"]


def test_an_empty_prompt_starts_a_new_text() -> None:
    assert model().encode_prompt("", TextControls()) == [END]


def test_generate_is_the_text_of_one_sample_without_the_prompt() -> None:
    assert model().generate("> ", max_tokens=3) == "0ab"
    assert model().generate(controls=TextControls(prompt="x", stop=("cd",))) == "0ab"
    [sample] = model(letters=3).samples("x", seed=4)
    assert model(letters=3).generate("x", seed=4) == sample.text


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"prompt": ["a", "b"]}, r"prompt is \['a', 'b'\], but must be text"),
        ({"count": 2}, "there is no setting 'count'"),
        ({"temperature": -1.0}, "temperature is -1.0"),
    ],
)
def test_generate_refuses_what_is_not_for_one_text(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        model().generate(**asked)


class Talking(ByteTokenizer):
    chat_template = "{% for m in messages %}{{ m.role[0] }}:{{ m.content }};{% endfor %}{{ bos }}"
    special: ClassVar[dict[str, str]] = {"bos": "!"}


def test_chat_answers_through_the_models_own_template() -> None:
    talking = model(Talking())
    turns = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hail"},
        {"role": "assistant", "content": "Aye."},
        {"role": "user", "content": "Who?"},
    ]
    assert talking.chat(turns, max_tokens=4) == "0abc"
    assert talking.network.prompts == ["s:Be brief.;u:Hail;a:Aye.;u:Who?;!"]


def test_a_reply_ends_before_a_special_token_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    talking = model(Talking())
    monkeypatch.setattr(Talking, "special_in", lambda _, text: ("bc",) if "bc" in text else ())
    assert talking.chat([{"role": "user", "content": "Hail"}], max_tokens=5) == "0a"


HAIL = [{"role": "user", "content": "Hail"}]


@pytest.mark.parametrize(
    ("messages", "asked", "message"),
    [
        ([], {}, r"messages is \[\], but must be a list of at least one"),
        ("Hail", {}, "message 1 is 'H', but must be"),
        ([{"role": "user"}], {}, "message 1 is {'role': 'user'}, but must be"),
        ([*HAIL, {"role": "robot", "content": "x"}], {}, "message 2 is .* but must be"),
        ([{"role": "user", "content": 5}], {}, "message 1 is .* but must be"),
        ([{"role": "user", "content": "<|im_end|>"}], {}, r"message 1 holds '<\|im_end\|>', a special token"),
        (HAIL, {"temperature": -1.0}, "temperature is -1.0"),
        (HAIL, {"seed": -1}, "seed is -1"),
        (HAIL, {"prompt": "x"}, "prompt has no meaning in a chat"),
        ([{"role": "user", "content": "x" * 90}], {}, "the messages make 94 tokens, but with 50 left"),
    ],
)
def test_a_bad_conversation_is_refused(
    messages: list[dict[str, str]], asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        model(Talking()).chat(messages, **asked)


def test_a_base_model_does_not_chat() -> None:
    with pytest.raises(CapabilityError, match="counting is a base model without a chat template"):
        model().chat(HAIL)
    with pytest.raises(CapabilityError, match="counting has no tokenizer files"):
        model(tokenizer=None).chat(HAIL)


def test_without_a_tokenizer_text_is_refused_and_the_network_still_there() -> None:
    bare = model(tokenizer=None)
    with pytest.raises(CapabilityError, match="counting has no tokenizer files"):
        list(bare.sample("x"))
    assert bare.network is not None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"count": 0}, "count is 0, but must be at least 1"),
        ({"batch_size": 0}, "batch_size is 0, but must be at least 1"),
        ({"temperture": 1.0}, "did you mean 'temperature'"),
        ({"seed": -1}, "seed is -1"),
        ({"controls": TextControls(), "top_k": 3}, "give either controls or top_k, not both"),
    ],
)
def test_a_bad_request_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        list(model().sample("x", **asked))


def test_a_count_that_is_not_the_number_of_prompts_is_refused() -> None:
    with pytest.raises(UsageError, match="count is 3, but there are 2 prompts"):
        list(model().sample(["a", "b"], count=3))
