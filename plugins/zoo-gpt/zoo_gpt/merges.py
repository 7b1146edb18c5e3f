"""The tokenizers of older repos, which have vocab.json and merges.txt, as transformers makes them.

The two files say the vocabulary alone. How a text is cut into words, which GPT-2 and Qwen2 do otherwise, is a rule of
the tokenizer's class: tokenizer_config.json names it, else config.json by the kind of model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from zoo.errors import WeightsError
from zoo.family import TOKENIZER_OF
from zoo.weights import companions
from zoo.weights.tensors import shown
from zoo_gpt import tokenizer_guard

VOCABULARY, MERGES = "vocab.json", "merges.txt"
MAKE_IT = (
    "put its tokenizer.json there; transformers writes one: "
    "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
)
"""What helps where a repo has its tokenizer in another form only."""

_QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
"""The special tokens with a name, in the order in which transformers gives numbers to those without one."""


@dataclass(frozen=True)
class _Said:
    """tokenizer: the content of tokenizer_config.json. added: number -> a token beyond vocab.json, in order.

    more: further special tokens.
    """

    tokenizer: Mapping[str, Any]
    added: Mapping[int, AddedToken]
    more: tuple[AddedToken, ...]

    @property
    def prefix_space(self) -> bool:
        return self.tokenizer.get("add_prefix_space") is True


def read(files: Mapping[str, Path], config: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer of vocab.json and merges.txt.

    config, tokenizer: what config.json and tokenizer_config.json say. Raises WeightsError where they name a class
    whose rules are not known here, or tokens that cannot be.
    """
    for name in (VOCABULARY, MERGES):
        tokenizer_guard.check_size(files[name])
    words, pairs = models.BPE.read_file(str(files[VOCABULARY]), str(files[MERGES]))
    tokenizer_guard.check_vocabulary(words)
    make, defaults = _kind(config, tokenizer, words)
    said = _said(files, tokenizer)
    made = make(words, pairs, said)
    _add(made, said, defaults)
    return made


def _gpt1(words: Any, pairs: Any, said: _Said) -> Tokenizer:  # noqa: ARG001 - it knows no blank in front
    """Words are cut first, without their case, and end with a mark."""
    tokenizer = Tokenizer(models.BPE(words, pairs, unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    return tokenizer


def _gpt2(words: Any, pairs: Any, said: _Said) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(words, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=said.prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _qwen2(words: Any, pairs: Any, said: _Said) -> Tokenizer:
    """Composed characters; one digit a word."""
    tokenizer = Tokenizer(models.BPE(words, pairs))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_QWEN2_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=said.prefix_space, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


_END = "<|endoftext|>"
_Kind = tuple[Callable[[Any, Any, _Said], Tokenizer], Mapping[str, str]]
_CLASSES: dict[str, _Kind] = {
    "OpenAIGPTTokenizer": (_gpt1, {"unk_token": "<unk>"}),
    "GPT2Tokenizer": (_gpt2, dict.fromkeys(("bos_token", "eos_token", "unk_token"), _END)),
    "Qwen2Tokenizer": (_qwen2, dict.fromkeys(("eos_token", "unk_token", "pad_token"), _END)),
}
"""The class that a repo names -> how it is made, and its named special tokens where no file says others."""
_CLASS_OF = {
    "openai-gpt": "OpenAIGPTTokenizer",
    "gpt1": "OpenAIGPTTokenizer",
    "gpt2": "GPT2Tokenizer",
    "qwen2": "Qwen2Tokenizer",
    "qwen3": "Qwen2Tokenizer",
}
"""config.json's model_type, or the zoo's family, to the class."""


def _kind(config: Mapping[str, Any], tokenizer: Mapping[str, Any], words: Mapping[str, int]) -> _Kind:
    own = config.get("zoo")
    model = config.get("model_type") or config.get(TOKENIZER_OF)
    model = model or (own.get("family") if isinstance(own, Mapping) else None)
    name = tokenizer.get("tokenizer_class") or config.get("tokenizer_class")
    if not (name or model):  # nothing but the two files: GPT-1's words end with a mark
        name = "OpenAIGPTTokenizer" if any(word.endswith("</w>") for word in words) else "GPT2Tokenizer"
    found = _CLASSES.get(str(name or _CLASS_OF.get(str(model))).removesuffix("Fast"))
    if found is None:
        of = f"a tokenizer of the class {shown(name)}" if name else f"a model of the type {shown(model)}"
        raise WeightsError(
            f"{VOCABULARY} and {MERGES} are those of {of}, whose rules are not known here", hint=MAKE_IT
        )
    return found


def _said(files: Mapping[str, Path], tokenizer: Mapping[str, Any]) -> _Said:
    """What the files say of tokens beyond vocab.json: tokenizer_config.json, or the two that were used before it."""
    added = tokenizer.get("added_tokens_decoder")
    if isinstance(added, Mapping):
        numbered = {_number(number): _token(token) for number, token in added.items()}
    else:
        older, names = (
            companions.read_json(files[name]) if name in files else {}
            for name in ("added_tokens.json", "special_tokens_map.json")
        )
        tokenizer = {**tokenizer, **names}
        special = {token.content for token in (*_named(tokenizer, {}), *_more(tokenizer))}
        numbered = {
            _number(number): _token({"content": text, "special": text in special})
            for text, number in older.items()
        }
    return _Said(tokenizer, dict(sorted(numbered.items())), tuple(_more(tokenizer)))


def _named(tokenizer: Mapping[str, Any], defaults: Mapping[str, str]) -> Iterator[AddedToken]:
    for name in _NAMED:
        if token := tokenizer.get(name, defaults.get(name)):
            yield _token(token, special=True)


def _more(tokenizer: Mapping[str, Any]) -> Iterator[AddedToken]:
    found = tokenizer.get("extra_special_tokens") or tokenizer.get("additional_special_tokens") or ()
    for token in found.values() if isinstance(found, Mapping) else found:
        yield _token(token, special=True)


def _token(said: Any, *, special: bool = False) -> AddedToken:
    """A token as the files write it: its text, or an object with `content` and how it is looked for."""
    fields = dict(said) if isinstance(said, Mapping) else {"content": said}
    content = fields.pop("content", None)
    fields.pop("__type", None)
    known = {"lstrip", "rstrip", "single_word", "normalized", "special"}
    if (
        not isinstance(content, str)
        or not content
        or not all(type(value) is bool for value in fields.values())
    ):
        raise WeightsError(f"tokenizer_config.json has the added token {shown(said)}, which is none")
    fields = {name: value for name, value in fields.items() if name in known}
    return AddedToken(content, **{**fields, "special": special or fields.get("special", False)})


def _number(said: Any) -> int:
    try:
        return int(said)
    except (TypeError, ValueError):
        raise WeightsError(f"an added token has the number {shown(said)}, which is none") from None


def _add(made: Tokenizer, said: _Said, defaults: Mapping[str, str]) -> None:
    """Add the tokens that the vocabulary lacks, and mark the special ones. Each must get the number that is said."""
    named = (*_named(said.tokenizer, defaults), *said.more)
    special = {token.content for token in named}
    added = {token.content for token in said.added.values()}
    tokens = [*said.added.values(), *(token for token in named if token.content not in added)]
    tokenizer_guard.check_vocabulary([token.content for token in tokens])
    for token in tokens:
        token.special = token.special or token.content in special
    made.add_tokens(tokens)
    for number, token in said.added.items():
        if (got := made.token_to_id(token.content)) != number:
            raise WeightsError(
                f"the added token {shown(token.content)} has the number {number}, but comes after {got} tokens",
                hint=MAKE_IT,
            )
    begin = said.tokenizer.get("bos_token", defaults.get("bos_token"))
    if said.tokenizer.get("add_bos_token") is True and begin:
        text = _token(begin).content
        made.post_processor = processors.TemplateProcessing(
            single=f"{text} $A", special_tokens=[(text, made.token_to_id(text))]
        )
