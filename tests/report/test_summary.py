"""One line per stage, from its result."""

from edgeopt.report.summary import summarise
from edgeopt.stages.results import read_facts


def line(facts, stage):
    return summarise(read_facts(stage, facts[stage]))


def test_each_stage_says_what_it_did_in_figures(facts):
    assert line(facts, "teacher") == "698 k parameters, 11.9 M MACs, 6 epochs"
    assert line(facts, "distill") == "128 k parameters, 2.70 M MACs, 12 epochs"
    assert line(facts, "prune") == ("2.70 M → 1.34 M MACs (−50 %), 128 k → 64.0 k parameters (−50 %), 1 layer narrower")
    assert line(facts, "export") == "opset 24, 34 nodes, off PyTorch by 3.0e-07 at most on 16 samples, 268 kB"
    assert line(facts, "quantize") == (
        "activations uint8, weights int8 per channel, calibrated on 128 samples, 99.3 % of the MACs in int8 kernels, "
        "268 kB → 84.3 kB"
    )
    assert line(facts, "profile") == "4 variants, 1,800 runs or more of each, CPUExecutionProvider, 1 thread"
    assert line(facts, "bundle") == "3 files, 91.8 kB, verified, onnxruntime 1.24 or later"


def test_what_is_unknown_is_left_out(facts):
    facts["quantize"]["coverage"]["int8_macs_share"] = None
    facts["bundle"]["minimum_onnxruntime"] = None
    facts["prune"]["layers"] = []
    assert "MACs in int8" not in line(facts, "quantize")
    assert line(facts, "bundle").endswith("verified")
    assert "narrower" not in line(facts, "prune")
    assert summarise(None) == ""
