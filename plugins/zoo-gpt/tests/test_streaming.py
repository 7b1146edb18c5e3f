"""Streamed text is the decoded whole: for every kind of tokenizer, for every place at which the prompt may end."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from zoo.modality.text import TextWriter
from zoo_gpt.tokenizer import GPTTokenizer, load

LEARNED = [
    "the lowest newest widest river won't flow, slower than the lower one. ",
    "ein über 한국 数字 🙂🙂",
] * 5
LETTERS = [
    *"abcdelnorstw .,'!?\n\t0",
    *"éüßñ\u0301\u200d\ufe0f",  # combining marks, joiners
    *"Ωжשع한국뷁數字あ",
    *"🙂👩🚀🇫🇷\U0010ffff",
    *"\ufffd\ufffd\ufffd",
]
TEXTS = 1000


def random_texts() -> list[str]:
    """Of letters in the vocabularies below, and of any others but the one that SentencePiece writes for a space."""
    draw = random.Random(0)
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000 and code != ord("▁")]
    return [
        "".join(draw.choice(every if draw.random() < 0.2 else LETTERS) for _ in range(draw.randint(1, 9)))
        for _ in range(TEXTS)
    ]


def byte_level() -> Tokenizer:
    """As GPT-2's: merges of bytes, some across the bytes of two characters."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=letters, show_progress=False)
    tokenizer.train_from_iterator(LEARNED, trainer)
    tokenizer.add_tokens([AddedToken("<é 字>"), AddedToken("🚀")])
    return tokenizer


def byte_fallback() -> Tokenizer:
    """As Llama 2's: what the vocabulary lacks is written as bytes."""
    tokens = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abcdelnorstw.,é한字", "▁a", "st"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = [("▁", "a"), ("s", "t")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def metaspace() -> Tokenizer:
    """As SentencePiece's, with every letter in its vocabulary but one."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=200,
        initial_alphabet=[letter for letter in LETTERS if letter != "🚀"],
        special_tokens=["<unk>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(LEARNED, trainer)
    return tokenizer


def wordpiece() -> Tokenizer:
    """As BERT's: a space between words that no token holds."""
    letters = [letter for letter in LETTERS if letter != "🚀"]
    words = ["[UNK]", *letters, *(f"##{letter}" for letter in letters), "the", "##er", "n't"]
    vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=True)
    return tokenizer


def word_ends() -> Tokenizer:
    """As GPT-1's: the last token of a word says so, and a space follows where another one does."""
    letters = [letter for letter in LETTERS if letter != "🚀"]
    words = dict.fromkeys(["<unk>", *letters, *(f"{letter}</w>" for letter in letters)])
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    return tokenizer


def opened(backend: Tokenizer, folder: Path) -> GPTTokenizer:
    path = folder / "tokenizer.json"
    backend.save(str(path))
    tokenizer = load({"tokenizer.json": path})
    assert tokenizer is not None
    return tokenizer


def streamed(tokenizer: GPTTokenizer, prompt: Sequence[int], tokens: Sequence[int]) -> str:
    writer = TextWriter(tokenizer, prompt)
    pieces = [writer.add(token) for token in tokens]
    return "".join(pieces) + writer.finish()


@pytest.mark.parametrize("make", [byte_level, byte_fallback])
def test_tokens_of_bytes_stream_to_the_text_from_the_character_at_which_the_prompt_ends(make, tmp_path):
    backend = make()
    tokenizer = opened(backend, tmp_path)
    inside = 0
    for text in random_texts():
        encoding = backend.encode(text)
        tokens, offsets = encoding.ids, encoding.offsets
        assert tokenizer.decode(tokens) == text
        for cut in range(len(tokens)):
            start = offsets[cut][0]  # of the first character that this token writes a part of
            inside += cut > 0 and offsets[cut - 1][1] > start
            assert streamed(tokenizer, tokens[:cut], tokens[cut:]) == text[start:], (text, cut)
    assert inside > TEXTS  # many a prompt ended within a character


@pytest.mark.parametrize("make", [metaspace, wordpiece, word_ends])
def test_tokens_of_letters_stream_to_what_the_whole_has_after_the_prompt(make, tmp_path):
    tokenizer = opened(make(), tmp_path)
    for text in random_texts():
        tokens = tokenizer.encode(text)
        whole = tokenizer.decode(tokens)
        for cut in range(len(tokens)):
            start = tokenizer.decode(tokens[:cut])
            assert whole.startswith(start)
            assert start + streamed(tokenizer, tokens[:cut], tokens[cut:]) == whole, (text, cut)


def test_bytes_that_are_no_text_stream_to_what_is_decoded_of_all_of_them(tmp_path):
    tokenizer = opened(byte_level(), tmp_path)
    draw = random.Random(1)
    for _ in range(TEXTS):
        tokens = draw.choices(range(tokenizer.vocabulary + 2), k=12)  # two ids are unknown, and left out
        assert streamed(tokenizer, [], tokens) == tokenizer.decode(tokens)


def test_a_wrong_byte_among_fallback_bytes_costs_itself_alone(tmp_path):
    tokenizer = opened(byte_fallback(), tmp_path)
    good, wrong = tokenizer.encode("뷁뷁")[1:], [1 + 0xFF]
    assert streamed(tokenizer, [], [*good, *wrong, *good]) == "뷁뷁\ufffd뷁뷁"


def test_bytes_that_a_letter_cuts_short_come_before_it(tmp_path):
    tokenizer = opened(byte_fallback(), tmp_path)
    [letter] = tokenizer.encode("한")[1:]
    whole = tokenizer.encode("뷁")[1:]
    for prompt in ([], whole[:1]):
        assert streamed(tokenizer, prompt, [*whole[len(prompt) : 2], letter, *whole]) == "\ufffd한뷁"


@pytest.mark.parametrize("make", [byte_level, byte_fallback, metaspace, wordpiece])
def test_streaming_decodes_few_tokens_at_a_time(make, tmp_path, monkeypatch):
    tokenizer = opened(make(), tmp_path)
    tokens = [*tokenizer.encode("".join(random_texts())), *[10**6] * 100]
    decoded = []
    decode = tokenizer.decode
    monkeypatch.setattr(tokenizer, "decode", lambda ids: decoded.append(len(ids)) or decode(ids))
    streamed(tokenizer, tokens[:50], tokens[50:])
    assert sum(decoded) < 10 * len(tokens)
