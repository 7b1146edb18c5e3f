"""Tokens to text as they arrive: whole characters only, stop texts cut, pieces joining to the final text."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from byte_tokenizer import ByteTokenizer
from zoo.modality.text import TextWriter


class Words(ByteTokenizer):
    """A tokenizer that writes a space only between tokens, as GPT-1's does."""

    def decode(self, tokens: Sequence[int]) -> str:
        return " ".join(chr(97 + token) for token in tokens)

    def bytes_of(self, token: int) -> None:
        return None


class Silent(ByteTokenizer):
    """A tokenizer that does not tell its bytes, only what they look like together."""

    bytes_of = Words.bytes_of


def write(
    text: str | bytes, *, stop: tuple[str, ...] = (), tokenizer: type[ByteTokenizer] = ByteTokenizer
) -> tuple[list[str], TextWriter]:
    writer = TextWriter(tokenizer(), stop=stop)
    pieces = []
    for token in text.encode() if isinstance(text, str) else text:
        pieces.append(writer.add(token))
        if writer.stopped:
            return pieces, writer
    return [*pieces, writer.finish()], writer


BOTH = pytest.mark.parametrize("tokenizer", [ByteTokenizer, Silent])


@BOTH
def test_a_character_of_several_bytes_appears_when_it_is_whole(tokenizer: type[ByteTokenizer]) -> None:
    assert write("aé🙂", tokenizer=tokenizer)[0] == ["a", "", "é", "", "", "", "🙂", ""]


@BOTH
def test_bytes_that_never_become_a_character_still_come_out(tokenizer: type[ByteTokenizer]) -> None:
    pieces, writer = write(b"a\xff\xff\xff\xff\xff\xffb", tokenizer=tokenizer)
    assert writer.text == "a" + "\ufffd" * 6 + "b"
    assert "".join(pieces) == writer.text


def test_a_replacement_character_of_the_text_itself_stays_beside_what_is_made_of_several_bytes() -> None:
    for text in ("\ufffd🙂", "🙂\ufffd", "\ufffd\ufffd\ufffd🙂\ufffd"):
        assert write(text)[1].text == text


def test_a_character_begun_by_the_prompt_is_completed() -> None:
    for split in (1, 2, 3):
        writer = TextWriter(ByteTokenizer(), prompt="a🙂".encode()[: 1 + split])
        pieces = [writer.add(token) for token in "🙂b".encode()[split:]]
        assert "".join(pieces) == "🙂b"


def test_a_stop_text_ends_the_sample_before_it() -> None:
    pieces, writer = write("one END two", stop=("END", "\n\n"))
    assert writer.stopped
    assert writer.text == "".join(pieces) == "one "


def test_text_that_only_begins_like_a_stop_text_is_written_after_all() -> None:
    pieces, writer = write("one EN", stop=("END",))
    assert pieces[-1] == "EN"
    assert writer.text == "one EN"


def test_the_earliest_of_several_stop_texts_counts() -> None:
    assert write("abcdef", stop=("f", "cd"))[1].text == "ab"


def test_the_space_between_two_tokens_is_not_lost_at_the_prompts_end() -> None:
    writer = TextWriter(Words(), prompt=[0, 1])
    assert [writer.add(2), writer.add(3)] == [" c", " d"]
    assert writer.tokens == (2, 3)


def test_tokens_that_say_nothing_cost_no_more_than_others(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []

    def decode(_: Words, tokens: Sequence[int]) -> str:
        decoded.append(len(tokens))
        return ""

    monkeypatch.setattr(Words, "decode", decode)
    write(bytes(1000), tokenizer=Words)
    assert max(decoded) < 50


@given(st.text(max_size=40), st.lists(st.text(min_size=1, max_size=3), max_size=3))
@hypothesis_settings(derandomize=True, deadline=None)
def test_pieces_join_to_the_text_up_to_the_first_stop(text: str, stop: list[str]) -> None:
    pieces, writer = write(text, stop=tuple(stop))
    ends = [text.find(part) for part in stop if part in text]
    # a stop text is looked for as text arrives, so the first to be complete counts
    complete = [text.find(part) + len(part) for part in stop if part in text]
    expected = text
    if ends:
        first = min(complete)
        expected = text[: min(at for at, done in zip(ends, complete, strict=True) if done == first)]
    assert "".join(pieces) == writer.text == expected


@pytest.mark.parametrize("stop", [("",), ()])
def test_an_empty_stop_text_stops_nothing(stop: tuple[str, ...]) -> None:
    assert write("abc", stop=stop)[1].text == "abc"
