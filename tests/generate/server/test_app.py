"""Paths beside the texts: models, health, figures, the page; embeddings."""

from __future__ import annotations

import base64
import json
import urllib.error
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pytest

from edgeopt.generate.server.encoder import Encoder
from tests.generate.conftest import VOCABULARY, make_tokenizer
from tests.generate.server.conftest import Running, running

openai = pytest.importorskip("openai")


def get(address: str, **headers: str) -> tuple[int, str]:
    try:
        with urlopen(Request(address, headers=headers)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_models_health_and_an_unknown_path(server: Running) -> None:
    assert [model.id for model in server.client().models.list()] == ["tiny"]
    assert server.client().models.retrieve("tiny").owned_by == "edgeopt"
    assert get(f"{server.address}/healthz") == (200, '{"status":"ok"}')
    status, body = get(f"{server.address}/nowhere")
    assert status == 404
    assert json.loads(body)["error"]["message"]
    assert get(f"{server.address}/v1/chat/completions")[0] == 405


def test_figures_are_prometheus_text(server: Running) -> None:
    server.client().completions.create(model="tiny", prompt="The quick", max_tokens=5)
    status, text = get(f"{server.address}/metrics")
    assert status == 200
    values = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if not line.startswith("#")}
    assert values["edgeopt_generated_tokens_total"] >= 5
    assert values["edgeopt_queue_length"] == 0
    assert values['edgeopt_requests_total{path="/v1/completions",status="200"}'] >= 1
    buckets = [value for name, value in values.items() if "seconds_bucket" in name]
    assert buckets == sorted(buckets)
    assert buckets[-1] == values["edgeopt_time_to_first_token_seconds_count"] > 0
    described = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {
        name.partition("{")[0].removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in values
    } <= described


def test_the_page_loads_nothing_from_elsewhere(server: Running) -> None:
    with urlopen(server.address) as answer:
        policy, text = answer.headers["Content-Security-Policy"], answer.read().decode()
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "__MODEL__" not in text
    assert "//cdn" not in text
    assert "viewport" in text


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import BertConfig, BertModel

    from edgeopt.export import ExportConfig, export
    from edgeopt.targets.target import load_target

    folder, output = tmp_path_factory.mktemp("bert"), tmp_path_factory.mktemp("encoder")
    make_tokenizer(folder)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    model = BertModel(BertConfig(vocab_size=VOCABULARY, max_position_embeddings=64, **sizes)).eval()
    model.save_pretrained(folder)
    config = ExportConfig(source_folder=folder, task="feature-extraction")
    export(model, None, target=load_target("x86-vnni"), output=output, config=config)
    return output


def test_embeddings_of_an_encoder(encoder: Path) -> None:
    with running(Encoder(encoder)) as made:
        texts = ["one two three", "a", "the quick brown fox jumps over the lazy dog", "one two three"]
        got = made.client().embeddings.create(model="tiny", input=texts)
        vectors = np.array([item.embedding for item in got.data])
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert np.allclose(vectors[0], vectors[3])
        alone = made.client().embeddings.create(model="tiny", input="a", encoding_format="float").data[0].embedding
        assert np.allclose(vectors[1], alone, atol=1e-5), "padding changed a vector"
        body = json.dumps({"input": "a", "encoding_format": "base64"}).encode()
        with urlopen(Request(f"{made.address}/v1/embeddings", body, {"Content-Type": "application/json"})) as answer:
            encoded = json.load(answer)["data"][0]["embedding"]
        assert np.allclose(np.frombuffer(base64.b64decode(encoded), np.float32), alone)
        with pytest.raises(openai.BadRequestError, match="at most 64"):
            made.client().embeddings.create(model="tiny", input="long " * 100)
        with pytest.raises(openai.NotFoundError, match="writes no texts"):
            made.client().completions.create(model="tiny", prompt="a")


def test_a_language_model_has_no_embeddings(server: Running) -> None:
    with pytest.raises(openai.NotFoundError, match="serve a text encoder"):
        server.client().embeddings.create(model="tiny", input="a")
