"""What version 1 said in words, and what is left to be refused."""

import pytest

from edgeopt.quantize.plan.old_plans import upgraded


@pytest.mark.parametrize("values", [3, [], {}, {"nodes": [], "tensors": 1}, {"nodes": [3], "tensors": [None]}])
def test_what_is_no_plan_passes_through(values):
    assert upgraded(values) == values


def test_ranges_that_follow_each_other_in_a_circle_end():
    tensors = [{"name": "a", "method": "as b"}, {"name": "b", "method": "as a"}, {"name": "c", "method": "as nothing"}]
    found = upgraded({"nodes": [], "tensors": tensors})["tensors"]
    assert [(item["follows"], item["method"]) for item in found] == [("b", "min-max"), ("a", "min-max"), ("nothing", "min-max")]


def test_a_node_on_integers_gets_the_cause_that_fits_its_operator():
    nodes = [{"op": op, "precision": "int8", "reason": "…"} for op in ("Gemm", "Relu")]
    found = upgraded({"nodes": nodes, "tensors": []})["nodes"]
    assert [node["cause"] for node in found] == ["weights", "between"]
    assert all("reason" not in node for node in found)
