"""The API through the official client: chats, completions, streams, forms, probabilities, what is refused."""

from __future__ import annotations

import json
import re
import urllib.error
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.engine.sampling import Sampling
from edgeopt.generate.engine.template import ChatTemplate
from tests.generate.server.conftest import Running, running

openai = pytest.importorskip("openai")

HELLO = [{"role": "user", "content": "Hello"}]


def test_a_chat_is_what_the_engine_answers(server: Running, engine: Engine) -> None:
    made = server.client().chat.completions.create(model="tiny", messages=HELLO, max_tokens=12)
    alone = engine.generate(engine.prompt(HELLO), Sampling(max_tokens=12))
    assert made.choices[0].message.content == alone.text
    assert made.choices[0].finish_reason == alone.reason
    assert made.usage.prompt_tokens == len(engine.prompt(HELLO))
    assert made.usage.completion_tokens == len(alone.tokens)


def test_a_streamed_chat_is_the_same_text_in_pieces(server: Running, engine: Engine) -> None:
    events = list(
        server.client().chat.completions.create(
            model="tiny", messages=HELLO, max_tokens=12, stream=True, stream_options={"include_usage": True}
        )
    )
    text = "".join(event.choices[0].delta.content or "" for event in events if event.choices)
    assert text == engine.generate(engine.prompt(HELLO), Sampling(max_tokens=12)).text
    assert [event.choices[0].finish_reason for event in events if event.choices][-1] in ("length", "stop")
    assert events[-1].usage.completion_tokens <= 12
    assert len({event.id for event in events}) == 1


def test_a_completion_with_probabilities_and_echo(server: Running, engine: Engine) -> None:
    made = server.client().completions.create(model="tiny", prompt="Once upon", max_tokens=6, logprobs=2, echo=True).choices[0]
    alone = engine.generate("Once upon", Sampling(max_tokens=6, logprobs=2))
    assert made.text == "Once upon" + alone.text
    assert made.logprobs.token_logprobs == pytest.approx([entry.logprob for entry in alone.logprobs])
    assert all(len(top) <= 2 for top in made.logprobs.top_logprobs)
    assert made.logprobs.text_offset[0] == len("Once upon")


def test_a_streamed_echo_begins_each_choice(server: Running) -> None:
    said = {0: "", 1: ""}
    for event in server.client().completions.create(model="tiny", prompt="Once", max_tokens=3, echo=True, n=2, stream=True):
        for choice in event.choices:
            said[choice.index] += choice.text
    assert all(text.startswith("Once") and len(text) > 4 for text in said.values())


def test_chat_probabilities(server: Running) -> None:
    made = server.client().chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=5, logprobs=True, top_logprobs=3, stream=False
    )
    content = made.choices[0].logprobs.content
    assert len(content) == made.usage.completion_tokens
    assert all(len(entry.top_logprobs) == 3 and entry.logprob == entry.top_logprobs[0].logprob for entry in content)


def test_stop_seed_and_several_choices(server: Running) -> None:
    client = server.client()
    whole = (
        client.completions.create(model="tiny", prompt="The quick", max_tokens=30, extra_body={"ignored": 1}).choices[0].text
    )
    cut = whole[3:6]
    stopped = client.completions.create(model="tiny", prompt="The quick", max_tokens=30, stop=[cut]).choices[0]
    assert stopped.text == whole[: whole.index(cut)]
    assert stopped.finish_reason == "stop"
    drawn = [
        client.completions.create(model="tiny", prompt="The", max_tokens=10, temperature=1.5, seed=4, n=2).choices for _ in "ab"
    ]
    assert [choice.text for choice in drawn[0]] == [choice.text for choice in drawn[1]]
    assert drawn[0][0].text != drawn[0][1].text


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ({"type": "json_object"}, r"\s*\{.*"),
        ({"type": "regex", "regex": "[0-9]{4}"}, "[0-9]{4}"),
        ({"type": "grammar", "grammar": 'start: "yes" | "no"'}, "yes|no"),
    ],
)
def test_forms_of_an_answer(server: Running, form: dict[str, Any], pattern: str) -> None:
    made = server.client().chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=60, temperature=1.0, seed=1, extra_body={"response_format": form}
    )
    assert re.fullmatch(pattern, made.choices[0].message.content, re.DOTALL)


def test_a_schema_is_kept(server: Running) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 99, "minimum": 0}}, "required": ["n"]}
    strict = {"name": "n", "schema": {**schema, "additionalProperties": False}}
    for seed in range(4):
        made = server.client().chat.completions.create(
            model="tiny",
            messages=HELLO,
            max_tokens=200,
            temperature=1.0,
            seed=seed,
            response_format={"type": "json_schema", "json_schema": strict},
        )
        assert 0 <= json.loads(made.choices[0].message.content)["n"] <= 99


def test_tools_where_the_template_has_them(portable: Path) -> None:
    engine = Engine.open(portable)
    engine.template = ChatTemplate(
        "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    parameters = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": False}
    tools = [{"type": "function", "function": {"name": "flip", "parameters": parameters}}]
    with running(engine) as made:
        for stream in (False, True):
            got = made.client().chat.completions.create(
                model="tiny", messages=HELLO, tools=tools, tool_choice="required", temperature=1.0, seed=2, stream=stream
            )
            choices = [event.choices[0] for event in got if event.choices] if stream else [got.choices[0]]
            calls = [call for one in choices for call in ((one.delta if stream else one.message).tool_calls or [])]
            assert [call.function.name for call in calls] == ["flip"]
            assert set(json.loads(calls[0].function.arguments)) == {"a"}
            assert choices[-1].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"content": "x"}]}, 400, "messages.0.role"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}, 400, "messages.0.content"),
        ({"temperature": -1}, 400, "temperature"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"max_tokens": 9999}, 400, "at most 400"),
        ({"messages": [{"role": "user", "content": "long " * 600}]}, 400, "the model's context is 512"),
        ({"model": "other"}, 404, "this server has 'tiny'"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, 400, "knows no tools"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "what"}}}},
            400,
            "cannot be",
        ),
        ({"response_format": {"type": "json_schema"}}, 400, "needs 'json_schema'"),
        ({"n": 99}, 400, "n: "),
    ],
)
def test_malformed_requests(server: Running, change: dict[str, Any], status: int, said: str) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        server.client().chat.completions.create(**{"model": "tiny", "messages": HELLO, **change})
    assert caught.value.status_code == status
    assert said in caught.value.message
    assert server.client().chat.completions.create(model="tiny", messages=HELLO, max_tokens=2).choices


def test_several_prompts_in_one_request_are_refused(server: Running) -> None:
    with pytest.raises(openai.BadRequestError, match="one request for each"):
        server.client().completions.create(model="tiny", prompt=["a", "b"])
    assert server.client().completions.create(model="tiny", prompt=[5, 6], max_tokens=2).usage.prompt_tokens == 2


def test_more_answers_than_the_server_makes_at_once_are_a_400(portable: Path) -> None:
    with running(Engine.open(portable), streams=2, queue=1) as made:
        asked = {"model": "tiny", "messages": HELLO, "max_tokens": 2}
        assert len(made.client().chat.completions.create(**asked, n=3).choices) == 3
        with pytest.raises(openai.BadRequestError, match="n is 4: this server makes at most 3 answers at once"):
            made.client().chat.completions.create(**asked, n=4)


@pytest.mark.parametrize("token", [-1, 400, 10**30])
def test_tokens_outside_the_vocabulary_are_a_400_with_echo_too(server: Running, token: int) -> None:
    with pytest.raises(openai.BadRequestError, match=f"token {token} is not in the model's vocabulary of 400"):
        server.client().completions.create(model="tiny", prompt=[token], max_tokens=2, echo=True)


def test_the_coldest_temperature_is_greedy(server: Running, engine: Engine) -> None:
    made = server.client().chat.completions.create(model="tiny", messages=HELLO, max_tokens=6, temperature=1e-300)
    assert made.choices[0].message.content == engine.generate(engine.prompt(HELLO), Sampling(max_tokens=6)).text


@pytest.mark.parametrize("deep", [500, 900, 100_000])
def test_a_request_that_is_nested_too_deeply_is_a_400_of_the_api(server: Running, deep: int) -> None:
    for part in ('"messages": %s', '"messages": [{"role": "user", "content": "a", "more": %s}]', '"logit_bias": %s'):
        body = ("{" + part % ("[" * deep + "]" * deep) + ', "max_tokens": 1}').encode()
        with pytest.raises(urllib.error.HTTPError) as caught:
            urlopen(Request(f"{server.address}/v1/chat/completions", body, {"Content-Type": "application/json"}))
        with caught.value as error:
            assert (error.code, json.loads(error.read())["error"]["type"]) == (400, "invalid_request_error")
