"""vocab.json and merges.txt mean what transformers makes of them, by the tokenizer's class; others are refused."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from zoo.errors import WeightsError
from zoo_gpt.tokenizer import load

TEXTS = [
    "Hello, world! It's we'll THEY'VE I'M 'tis DON'T",
    "1234567890 3.14e-10 x2y3 １２３ ٣٤ Ⅻ ½",
    "  leading,   inner   and trailing spaces   ",
    "\n\n\tlines\r\n and tabs\u00a0\u2003 \r\n\r\n  x\n y",
    "e\u0301 and é, A\u030a and Å, \u1112\u1161\u11ab and 한, ﬁ",
    "!!!\n\n$%^&*()_+{}|:<>?~` ...\n",
    "emoji 😀👩‍👩‍👧‍👦 and flags 🇫🇷; 数字 Ελληνικά русский العربية हिन्दी",
    "def f(x):\n    return x**2  # square\n",
    "<|im_start|>user\nhi<|im_end|>\n <|im_start|> <|endoftext|><tool> tool </tool>",
    "",
]
IM = {"content": "<|im_start|>", "lstrip": False, "rstrip": False, "normalized": False, "special": True}
ENDS = {"400": IM | {"content": "<|endoftext|>"}, "401": IM, "402": IM | {"content": "<|im_end|>"}}
TOOL = {"403": {"content": "<tool>", "lstrip": True, "rstrip": True, "normalized": False, "special": False}}


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-level vocabulary of 400 tokens, learned from the texts: it merges across the rules' boundaries."""
    folder = tmp_path_factory.mktemp("learned")
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    learner.train_from_iterator(TEXTS[:-2] * 3, trainer)
    learner.model.save(str(folder))
    return folder


def written(learned: Path, folder: Path, **contents: object) -> dict[str, Path]:
    """The vocabulary in a folder, with JSON files beside it."""
    for name in ("vocab.json", "merges.txt"):
        (folder / name).write_bytes((learned / name).read_bytes())
    for stem, content in contents.items():
        (folder / f"{stem}.json").write_text(json.dumps(content))
    return {path.name: path for path in folder.iterdir()}


def random_texts(count: int) -> list[str]:
    """Of letters from all over Unicode, blanks and the words that the rules are about."""
    chance = random.Random(9)
    words = [
        "'s",
        "'LL",
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "12",
        "a",
        "é",
        "e\u0301",
        "<|im_end|>",
        "<tool>",
        ".",
    ]
    letters = [chr(code) for code in range(1, 0x30000, 97) if not 0xD800 <= code < 0xE000]
    return ["".join(chance.choices(words + chance.choices(letters, k=8), k=12)) for _ in range(count)]


CASES = {
    "by config.json": {"config": {"model_type": "qwen2"}},
    "Qwen3": {"config": {"model_type": "qwen3"}, "tokenizer_config": {"bos_token": None}},
    "as Qwen2 writes it": {
        "config": {"model_type": "qwen2"},
        "tokenizer_config": {
            "tokenizer_class": "Qwen2Tokenizer",
            "add_prefix_space": False,
            "added_tokens_decoder": ENDS | TOOL,
            "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "bos_token": None,
            "unk_token": None,
        },
    },
    "the older files": {
        "config": {"model_type": "qwen2"},
        "tokenizer_config": {"tokenizer_class": "Qwen2TokenizerFast"},
        "added_tokens": {"<|endoftext|>": 400, "<|im_start|>": 401, "<|im_end|>": 402, "<tool>": 403},
        "special_tokens_map": {
            "eos_token": {"content": "<|im_end|>", "lstrip": False, "normalized": False},
            "additional_special_tokens": ["<|im_start|>"],
        },
    },
    "GPT-2": {"config": {"model_type": "gpt2"}},
    "GPT-2 with a blank in front and a begin": {
        "config": {"model_type": "gpt2"},
        "tokenizer_config": {
            "tokenizer_class": "GPT2Tokenizer",
            "add_prefix_space": True,
            "add_bos_token": True,
            "added_tokens_decoder": ENDS,
        },
    },
    "GPT-2's class in another model": {
        "config": {"model_type": "llama"},
        "tokenizer_config": {"tokenizer_class": "GPT2Tokenizer", "added_tokens_decoder": ENDS},
    },
}


@pytest.mark.parametrize("case", CASES)
def test_ids_are_those_of_transformers(learned, tmp_path, case):
    ours = load(written(learned, tmp_path, **CASES[case]))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS + random_texts(300):
        ids = theirs(text, add_special_tokens=False)["input_ids"]
        assert ours.encode_chat(text) == ids, text
        assert ours.decode(ids) == theirs.decode(ids, clean_up_tokenization_spaces=False)
    begun = theirs("a")["input_ids"]
    assert ours.encode("a") == begun
    assert ours.vocabulary == len(theirs)


def test_a_pushed_run_is_read_as_the_model_that_it_began_with(learned, tmp_path):
    began = load(written(learned, tmp_path, config={"model_type": "qwen2"}))
    pushed = {"zoo": {"family": "llama"}, "tokenizer_of": "qwen2"}
    ours = load(written(learned, tmp_path, config=pushed))
    for text in TEXTS:
        assert ours.encode(text) == began.encode(text)


def test_qwen2_and_gpt2_cut_the_same_text_in_other_places(learned, tmp_path):
    qwen = load(written(learned, tmp_path, config={"model_type": "qwen2"}))
    gpt = load(written(learned, tmp_path, config={"model_type": "gpt2"}))
    assert qwen.encode("It's 1234\n\n  x") != gpt.encode("It's 1234\n\n  x")


@pytest.mark.parametrize(
    ("contents", "told"),
    [
        (
            {"tokenizer_config": {"tokenizer_class": "BloomTokenizer"}},
            "a tokenizer of the class 'BloomTokenizer'",
        ),
        ({"config": {"model_type": "llama"}}, "a model of the type 'llama'"),
        ({"config": {"zoo": {"family": "llama"}}}, "a model of the type 'llama'"),
        ({"config": {"model_type": ["x"]}}, r"a model of the type \['x'\]"),
    ],
)
def test_a_tokenizer_whose_rules_are_not_known_is_refused_and_tokenizer_json_is_named(
    learned, tmp_path, contents, told
):
    with pytest.raises(WeightsError, match=told) as refused:
        load(written(learned, tmp_path, **contents))
    assert refused.value.hint.startswith("put its tokenizer.json there; transformers writes one: ")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"1000": IM}, "the added token '<|im_start|>' has the number 1000, but"),
        ({"x": IM}, "an added token has the number 'x', which is none"),
        ({"400": {"content": ""}}, "which is none"),
        ({"400": {"content": "a", "lstrip": 1}}, "which is none"),
        ({"400": 3}, "which is none"),
        ({"400": {"content": "x" * 2000}}, "a token of more than the 1,000 characters"),
    ],
)
def test_added_tokens_that_cannot_be_are_refused(learned, tmp_path, said, told):
    config = {"tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": said}
    with pytest.raises(WeightsError) as refused:
        load(written(learned, tmp_path, tokenizer_config=config))
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["tokenizer.model"], "as tokenizer.model alone, a form that is not read here"),
        (["vocab.json"], "vocab.json is half of a tokenizer: merges.txt is not beside it"),
        (["merges.txt"], "merges.txt is half of a tokenizer: vocab.json is not beside it"),
    ],
)
def test_a_tokenizer_in_another_form_is_refused_and_tokenizer_json_is_named(tmp_path, names, told):
    with pytest.raises(WeightsError) as refused:
        load({name: tmp_path / name for name in names})
    assert told in str(refused.value)
    assert "put its tokenizer.json there" in refused.value.hint


def test_a_named_token_is_special_whatever_its_entry_says(learned, tmp_path):
    said = {number: token | {"special": False} for number, token in ENDS.items()}
    config = {"tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": said, "eos_token": "<|im_end|>"}
    ours = load(written(learned, tmp_path, tokenizer_config=config))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert theirs.added_tokens_decoder[402].special
    assert not theirs.added_tokens_decoder[401].special
    assert 402 not in ours.encode("<|im_end|>")  # a prompt cannot end the text
    assert ours.encode("<|im_start|>") == [401] == theirs("<|im_start|>")["input_ids"]
    assert 402 in ours.end
