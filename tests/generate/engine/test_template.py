"""Chat templates: twenty kinds as transformers renders them, refusals, and the sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeopt.generate.engine.errors import FolderError, PromptError
from edgeopt.generate.engine.template import ChatTemplate, read_template

CHATML = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
TEMPLATES = {
    "chatml": CHATML + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "chatml with a default system message": ""
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind<|im_end|>\n"
    "{% endif %}" + CHATML,
    "llama 2": "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}"
    "{% set sys = messages[0]['content'] %}"
    "{% else %}{% set rest = messages %}{% set sys = false %}{% endif %}{% for m in rest %}"
    "{% if loop.index0 == 0 and sys %}"
    "{% set content = '<<SYS>>\\n' + sys + '\\n<</SYS>>\\n\\n' + m['content'] %}{% else %}"
    "{% set content = m['content'] %}{% endif %}"
    "{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% else %}"
    "{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}",
    "llama 3": "{% set loop_messages = messages %}{% for message in loop_messages %}"
    "{% set content = '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}"
    "{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}",
    "mistral": "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == "
    "'assistant' %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}",
    "gemma": "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'assistant') %}"
    "{% set role = 'model' %}"
    "{% else %}{% set role = message['role'] %}{% endif %}"
    "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + "
    "'<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}",
    "phi 3": "{% for m in messages %}{{ '<|' ~ m.role ~ '|>\\n' ~ m.content ~ '<|end|>\\n' }}{% endfor %}"
    "{{ '<|assistant|>\\n' }}",
    "zephyr": "{% for message in messages %}\n{% if message['role'] == 'user' %}\n"
    "{{ '<|user|>\n' + message['content'] + "
    "eos_token }}\n{% elif message['role'] == 'assistant' %}\n"
    "{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n"
    "{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}",
    "alpaca": "{% for m in messages %}{% if m.role == 'user' %}### Instruction:\n{{ m.content }}\n\n"
    "{% else %}### Response:\n"
    "{{ m.content }}\n\n{% endif %}{% endfor %}### Response:\n",
    "vicuna": "{%- for m in messages -%}{%- if m.role == 'user' -%}USER: {{ m.content }} "
    "{%- else -%} ASSISTANT: {{ m.content }}"
    "</s>{%- endif -%}{%- endfor -%}",
    "tools as json": "{% if tools %}<tools>\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}</tools>"
    "{% endif %}" + CHATML,
    "tools indented": "{%- if tools %}{{ tools | tojson(indent=4) }}{% endif %}" + CHATML,
    "tool calls": "{% for m in messages %}{% if m.tool_calls is defined %}{% for call in m.tool_calls %}"
    "{{ call.function.name }}"
    "({{ call.function.arguments | tojson }}){% endfor %}{% endif %}{{ m.content or '' }};{% endfor %}",
    "namespace": "{% set ns = namespace(n=0) %}{% for m in messages %}"
    "{% set ns.n = ns.n + m.content | length %}{% endfor %}{{ ns.n }}",
    "break and continue": "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ m.content }}"
    "{% if loop.index > 2 %}{% break %}{% endif %}{% endfor %}",
    "generation marks": "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
    "{% endgeneration %}"
    "{% else %}{{ m.content }}{% endif %}{% endfor %}",
    "macro": "{% macro turn(m) -%}[{{ m.role | upper }}] {{ m.content }}\n{%- endmacro %}"
    "{% for m in messages %}{{ turn(m) }}"
    "{% endfor %}",
    "filters": "{% for m in messages | selectattr('role', 'equalto', 'user') %}"
    "{{ m.content | replace('e', '3') | title }}|{% endfor %}"
    "{{ messages | map(attribute='role') | join(',') }}",
    "slices and tests": "{{ messages[-1]['content'][:4] }}{% if messages[0].name is not defined %}-{% endif %}"
    "{{ messages | length }}",
    "dictionary": "{% set d = dict(a=1, b='x') %}{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}"
    "{{ messages[0].content }}",
    "reasoning": "{% for m in messages %}{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>"
    "{% endif %}"
    "{{ m.content }}{% endfor %}",
}
TOOL = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "number"}}}},
}
CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 1, "ü": "<&>"}}}
CHATS: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": " Hello <b>there</b> & 'you' \n"}],
    [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Grüße, 你好 🙂"},
        {"role": "assistant", "content": "Hi!", "thinking": "hm"},
        {"role": "user", "content": "{{ 7 * 7 }} {% raw %}"},
    ],
    [
        {"role": "user", "content": "add"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "2", "name": "add"},
    ],
]


@pytest.mark.parametrize("name", TEMPLATES)
def test_prompts_are_those_of_transformers(name: str) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    special = {"bos_token": "<s>", "eos_token": "</s>"}
    ours = ChatTemplate(TEMPLATES[name], special=special)
    for chat in CHATS:
        for tools in (None, [TOOL]):
            for answer in (False, True):
                theirs, _ = render_jinja_template(
                    [chat], tools=tools, chat_template=TEMPLATES[name], add_generation_prompt=answer, **special
                )
                assert ours.render(chat, tools=tools, answer=answer) == theirs[0]


def test_a_template_that_refuses_says_why() -> None:
    template = ChatTemplate("{% if messages[0].role != 'user' %}{{ raise_exception('begin with a user') }}{% endif %}")
    with pytest.raises(PromptError, match="refuses the messages: begin with a user"):
        template.render([{"role": "assistant", "content": "x"}])


@pytest.mark.parametrize(
    "attack",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__.os.system('true') }}",
    ],
)
def test_the_sandbox_holds(attack: str) -> None:
    with pytest.raises(PromptError):
        ChatTemplate(attack).render([{"role": "user", "content": "x"}])


def test_a_text_that_is_no_template_is_refused() -> None:
    with pytest.raises(FolderError, match="cannot be read"):
        ChatTemplate("{% for %}")


def test_the_template_of_a_folder(tmp_path: Path) -> None:
    assert read_template(tmp_path) is None
    configuration = {
        "chat_template": [{"name": "tool_use", "template": "no"}, {"name": "default", "template": "old {{ bos_token }}"}]
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**configuration, "bos_token": {"content": "<s>"}}))
    found = read_template(tmp_path)
    assert found is not None
    assert found.render([]) == "old <s>"
    (tmp_path / "chat_template.jinja").write_text("new {% if tools %}tools{% endif %}")
    found = read_template(tmp_path)
    assert found is not None
    assert found.takes_tools
    assert found.render([], tools=[TOOL]) == "new tools"
    other = tmp_path / "other.jinja"
    other.write_text("given")
    found = read_template(tmp_path, other)
    assert found is not None
    assert (found.render([]), found.takes_tools) == ("given", False)
    with pytest.raises(FolderError, match="cannot be read as a chat template"):
        read_template(tmp_path, tmp_path / "absent.jinja")


@pytest.mark.parametrize(
    "text",
    [
        *("{{ 1 / 0 }}", "{{ 10 ** 400 * 1.5 }}", "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}", "{{ 'a'.encode('x') }}"),
        *("{{ strftime_now(5) }}", "{{ '%d' % 'a' }}"),
    ],
)
def test_whatever_a_template_raises_is_a_refusal_in_one_line(text: str) -> None:
    with pytest.raises(PromptError, match="the chat template refuses the messages") as error:
        ChatTemplate(text).render([{"role": "user", "content": "x"}])
    assert "\n" not in str(error.value)


def test_a_template_nested_too_deeply_or_in_no_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="the chat template cannot be read"):
        ChatTemplate("{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}")
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe")
    with pytest.raises(FolderError, match="cannot be read as a chat template"):
        read_template(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    (tmp_path / "tokenizer_config.json").write_text("[" * 100_000, encoding="utf-8")
    assert read_template(tmp_path) is None


def test_messages_that_are_nested_too_deeply_are_refused() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    for given in ({"messages": [{"role": "user", "content": "a", "more": deep}]}, {"messages": [], "tools": [{"deep": deep}]}):
        with pytest.raises(PromptError, match="nested too deeply"):
            ChatTemplate(CHATML).render(**given)
