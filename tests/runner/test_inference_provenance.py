"""The chain of origins: what breaks it, and that it ends in the model's file."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from edgeopt.device_code import inference

code = inference("provenance")
ENTRIES = [
    {"role": "teacher", "name": "t", "sha256": "a" * 64},
    {"role": "data", "name": "d", "sha256": "b" * 64},
    {"role": "file", "name": "model.onnx", "sha256": "c" * 64},
]
FILES = {"model.onnx": "c" * 64}


def test_a_chain_is_whole_until_a_link_is_changed_left_out_or_put_in() -> None:
    chain = code.chained(ENTRIES)
    assert code.problem(chain, FILES) is None
    for place in range(2):
        changed: list[dict[str, Any]] = copy.deepcopy(chain)
        changed[place]["sha256"] = "0" * 64
        assert code.problem(changed, FILES).startswith(f"link {place} ")
        assert code.problem(chain[:place] + chain[place + 1 :], FILES).startswith(f"link {place} ")
        assert code.problem([*chain[: place + 1], *chain[place:]], FILES).startswith(f"link {place + 1} ")


@pytest.mark.parametrize("origins", [7, [7], ["x"], {"role": "file"}])
def test_what_is_no_chain_is_said(origins: Any) -> None:
    assert code.problem(origins, FILES) == "the origins are no list of objects"


def test_it_ends_in_the_file() -> None:
    said = "the chain does not end in the model's file"
    assert code.problem(code.chained(ENTRIES), {"model.onnx": "d" * 64}) == said
    assert code.problem(code.chained(ENTRIES[:2]), FILES) == said
    assert code.problem(ENTRIES[:2], FILES) is None  # of bundles before there were links
