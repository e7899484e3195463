"""Operator times by module: nested, through quantized stretches, an exported transformer, other exporters' names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
import torch
from transformers import BertConfig, BertModel

from edgeopt.export import export
from edgeopt.graph.files import as_ir
from edgeopt.profile.config import ProfileConfig
from edgeopt.profile.modules import module_times
from edgeopt.profile.result import OperatorTime
from edgeopt.profile.stage import profile
from edgeopt.targets.target import load_target


def _ran(*times: tuple[str, float]) -> list[OperatorTime]:
    return [OperatorTime(name, "Op", "CPU", ms, 0.0, 0, 0, None, None) for name, ms in times]


def _chain(names: Sequence[str]) -> ir.Model:
    nodes = [onnx.helper.make_node("Relu", [f"v{i}"], [f"v{i + 1}"], name=name) for i, name in enumerate(names)]
    ends = [onnx.helper.make_tensor_value_info(f"v{i}", 1, [1]) for i in (0, len(names))]
    return as_ir(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:])))


def test_parents_hold_what_is_inside_and_a_nameless_node_belongs_to_whoever_feeds_it() -> None:
    model = _chain(["a.b/Gemm", "v1_QuantizeLinear", "Mul:v2", "a.c/Gemm", "a/Add"])
    ran = _ran(("fused a.b/Gemm", 2.0), ("v1_QuantizeLinear", 1.0), ("Mul:v2", 0.5), ("a.c/Gemm_token_7", 4.0), ("a/Add", 0.5))
    found = {module.name: (module.ms, module.own_ms, module.share) for module in module_times(ran, model)}
    assert found == {"a": (8.0, 0.5, 1.0), "a.b": (3.5, 3.5, 0.4375), "a.c": (4.0, 4.0, 0.5)}


def test_other_exporters_paths_and_none_at_all() -> None:
    names = ["/layer/layer.0/dense/MatMul", "block/conv/Conv2D"]
    found = [module.name for module in module_times(_ran(*((name, 1.0) for name in names)), _chain(names))]
    assert found == ["layer", "layer.0", "layer.0.dense", "block", "block.conv"]
    assert module_times(_ran(("Relu_0", 1.0)), _chain(["Relu_0"])) == []


def test_what_no_module_claims_is_listed_under_no_name() -> None:
    found = module_times(_ran(("Shape_3", 1.0), ("a/Add", 3.0)), _chain(["Shape_3", "a/Add"]))
    assert [(module.name, module.share) for module in found] == [("", 0.25), ("a", 0.75)]


def test_an_exported_transformer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 50}
    config = BertConfig(**sizes, max_position_embeddings=64)
    target = load_target("host")
    ids = np.arange(16, dtype=np.int64)[None]
    batch = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    path = export(BertModel(config, add_pooling_layer=False), [batch], target=target, output=tmp_path / "m").path
    options = ProfileConfig(seconds=1.0, cold_starts=1, roofline=False)
    [variant] = profile({"m": path}, [batch], target=target, config=options).variants
    modules = {module.name: module for module in variant.modules}
    layers = [modules[f"encoder.layer.{number}"] for number in range(2)]
    assert {"embeddings", "encoder.layer.0.attention.output.dense", "encoder.layer.1.intermediate"} <= set(modules)
    assert modules["encoder"].ms == pytest.approx(modules["encoder"].own_ms + sum(layer.ms for layer in layers))
    assert sum(module.own_ms for module in variant.modules) == pytest.approx(sum(node.ms for node in variant.operators))
    assert (
        sum(module.share for module in variant.modules if not module.name) < 0.3
    )  # the root's own, among nodes of microseconds
