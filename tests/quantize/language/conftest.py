"""A tiny Llama with a tied embedding, exported once, and texts of random tokens it has opinions about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from edgeopt.export import ExportConfig, export
from edgeopt.export.proof import tiny_model
from edgeopt.export.registry import load_family
from edgeopt.graph import files
from edgeopt.graph.generation import Generation
from edgeopt.targets.target import load_target


@pytest.fixture(scope="package")
def folder(tmp_path_factory):
    """Return the folder of the exported model; it has no tokenizer."""
    path = tmp_path_factory.mktemp("decoder")
    family = load_family("llama")
    changed = replace(family, tiny={**family.tiny, "hidden_size": 64, "tie_word_embeddings": True})
    model = tiny_model(changed, "text-generation")
    model.lm_head.weight = model.model.embed_tokens.weight
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(2.0)
    config = ExportConfig(task="text-generation", context=64, parity_samples=1)
    export(model, None, target=load_target("x86-vnni"), output=path, config=config)
    return path


@pytest.fixture(scope="package")
def decoder(folder):
    """Return the exported graph and its facts."""
    return files.load(folder / "model.onnx"), Generation.beside(folder)


@pytest.fixture(scope="package")
def windows():
    """Return windows of random tokens."""
    return list(np.random.default_rng(0).integers(5, 100, (6, 32)))


@pytest.fixture
def parse_text():
    """Read a graph as ONNX text with random weights of these shapes."""

    def read(text, **weights):
        rng = np.random.default_rng(0)
        proto = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 21]>\n' + text)
        for name, shape in weights.items():
            proto.graph.initializer.append(onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name))
        return files.from_proto(proto)

    return read
