"""Chat templates: the text they make is the reference's, and a hostile one can do no harm."""

import json
import subprocess
import sys
import time

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from zoo.errors import MissingDependencyError, UsageError, WeightsError, ZooError
from zoo.modality import chat
from zoo.modality.chat import Message, render
from zoo.modality.chat_worker import MOST_CHARACTERS, rendered

SPECIAL = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}

CHATML_WITH_DEFAULT = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are helpful<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
WITH_TOOLS_AND_THINKING = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- for tool in tools %}{{ tool | tojson }}{% endfor %}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if message.role == "user" and not (message.content.startswith('<tool>')) %}
        {%- set ns.last = index %}
        {%- break %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == "assistant" %}
        {%- set content = message.content.split('</think>')[-1].lstrip('\\n') %}
        {{- '<|im_start|>assistant\\n' + content + '<|im_end|>\\n' }}
    {%- elif message.role == "user" %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""
STRICT = """{{ bos_token }}{% for message in messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('Conversation roles must alternate user/assistant') }}
    {%- endif %}
    {%- generation %}{{ '[' + message['content'] | trim | tojson + ']' }}{% endgeneration %}
{% endfor %}"""

CONVERSATIONS = [
    [("user", "Hello")],
    [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "<think>\nhm\n</think>\n\nHo"),
        ("user", "a < b & 'c'"),
    ],
    [("user", "na\u00efve \u4f60\u597d"), ("assistant", "{{ 7 * 7 }}"), ("user", "{% raw %}")],
]


def turns(pairs):
    return [{"role": role, "content": content} for role, content in pairs]


@pytest.mark.parametrize("pairs", CONVERSATIONS)
@pytest.mark.parametrize(
    "template", [CHATML_WITH_DEFAULT, WITH_TOOLS_AND_THINKING], ids=["chatml", "thinking"]
)
def test_the_text_is_what_transformers_makes(template, pairs):
    expected, _ = render_jinja_template(
        [turns(pairs)], chat_template=template, add_generation_prompt=True, **SPECIAL
    )
    assert rendered(template, turns(pairs), SPECIAL) == expected[0]


def test_special_tokens_json_and_generation_marks_are_known():
    text = rendered(STRICT, turns([("user", " <b> "), ("assistant", "é")]), SPECIAL)
    assert text == '<|im_start|>["<b>"]["é"]'


def test_render_runs_the_template_in_its_own_process():
    assert render(CHATML_WITH_DEFAULT, [Message("user", "Hello")], SPECIAL).endswith(
        "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_refusal_by_the_template_is_the_askers_error():
    with pytest.raises(UsageError, match="roles must alternate"):
        render(STRICT, [Message("assistant", "first")], SPECIAL)


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.__init__.__globals__ }}",
        "{{ raise_exception.__globals__['sys'].exit(7) }}",
        "{% set _ = messages.append(1) %}",
        "{{ cycler.__init__.__globals__.os.system('id') }}",
        "{% include '/etc/passwd' %}",
        "{{ lipsum.__globals__.os }}",
        "{% for message in messages %}",
        "{{ 1 / 0 }}",
    ],
)
def test_a_template_reaches_nothing_but_its_messages(template):
    with pytest.raises(WeightsError, match="chat template does not work"):
        render(template, [Message("user", "x")], SPECIAL)


@pytest.mark.parametrize(
    "template",
    [
        "{% set x %}{{ 'a' * 99999 }}{% endset %}" + "{% set x %}{{ x }}{{ x }}{% endset %}" * 40,
        "{{ 'a' * (10 ** 11) }}",
        "{{ 'x' * 5000000 }}",
    ],
    ids=["doubling", "one huge text", "longer than any context"],
)
def test_a_template_that_makes_too_much_is_ended(template):
    with pytest.raises(WeightsError, match=r"too much|MemoryError|more than 4,000,000 characters"):
        render(template, [Message("user", "x")], SPECIAL)


def test_a_template_that_never_ends_is_ended(monkeypatch):
    monkeypatch.setattr(chat, "_SECONDS", 1.5)
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    began = time.monotonic()
    with pytest.raises(WeightsError, match="too much time"):
        render(endless, [Message("user", "x")], SPECIAL)
    assert time.monotonic() - began < 10


def test_a_huge_template_is_not_even_read():
    with pytest.raises(WeightsError, match="200,001 characters"):
        render("x" * 200_001, [], {})


def test_without_jinja2_the_package_to_install_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError) as raised:
        render("x", [], {})
    assert "zoo-core[chat]" in raised.value.hint


def test_the_worker_finds_what_this_process_finds(monkeypatch, tmp_path):
    (tmp_path / "user-site" / "zoo" / "modality").mkdir(parents=True)
    for name in ("__init__.py", "modality/__init__.py"):
        (tmp_path / "user-site" / "zoo" / name).touch()
    worker = tmp_path / "user-site" / "zoo" / "modality" / "chat_worker.py"
    worker.write_text('def main(): print(\'{"text": "from the user\\\'s site-packages"}\')')
    monkeypatch.syspath_prepend(str(tmp_path / "user-site"))
    assert render("x", [], {}) == "from the user's site-packages"
    worker.write_text("import no_such_module")
    with pytest.raises(
        ZooError, match="does not work: ModuleNotFoundError: No module named 'no_such_module'"
    ):
        render("x", [], {})


def test_the_worker_limits_its_own_memory_and_processor_time():
    resource = pytest.importorskip("resource")
    code = (
        "import resource; from zoo.modality import chat_worker as w; w._limit();"
        "print(resource.getrlimit(resource.RLIMIT_AS)[0], resource.getrlimit(resource.RLIMIT_CPU)[0])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split() == [str(1 << 29), "10"]
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != 1 << 29


def test_the_longest_text_is_counted_in_characters():
    assert len(rendered("{{ 'a' * 1000 }}" * (MOST_CHARACTERS // 1000), [], {})) == MOST_CHARACTERS


def test_requests_and_answers_are_json():
    request = {
        "template": "{{ messages[0].content }}",
        "messages": turns([("user", "\u2028\ud83d")]),
        "special": {},
    }
    worker = subprocess.run(
        [sys.executable, "-m", "zoo.modality.chat_worker"],
        input=json.dumps(request).encode(),
        capture_output=True,
        check=True,
    )
    assert json.loads(worker.stdout) == {"text": "\u2028\ud83d"}
