"""Conversations: history, stopped replies, a cache that carries over."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeopt.errors import RecipeError
from edgeopt.generate.conversation import Conversation
from edgeopt.generate.engine.engine import Engine
from edgeopt.generate.engine.sampling import Sampling


def test_turns_become_history_and_stay_in_the_cache(portable: Path) -> None:
    engine = Engine.open(portable)
    talk = Conversation(engine, Sampling(max_tokens=6), system="Be short.")
    first = "".join(talk.ask("Hello"))
    assert [message["role"] for message in talk.messages] == ["system", "user", "assistant"]
    assert talk.messages[2]["content"] == first
    list(talk.ask("And?"))
    assert talk.answered is not None
    assert talk.answered.reused_tokens > 10
    talk.reset()
    assert talk.messages == [{"role": "system", "content": "Be short."}]


def test_a_stopped_reply_is_kept_as_far_as_it_went(engine: Engine) -> None:
    talk = Conversation(engine, Sampling(max_tokens=200, ignore_eos=True))
    reply = talk.ask("Hello")
    said = next(reply)
    reply.close()
    assert talk.messages[-1] == {"role": "assistant", "content": said}
    assert talk.answered is not None
    assert talk.answered.reason == "cancelled"
    assert "".join(talk.ask("again"))


def test_a_message_beyond_the_context_is_refused_and_not_kept(engine: Engine) -> None:
    talk = Conversation(engine, Sampling(max_tokens=4))
    with pytest.raises(RecipeError, match="the model's context is 512"):
        list(talk.ask("long " * 600))
    assert talk.messages == []
