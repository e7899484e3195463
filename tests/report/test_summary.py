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


def test_distilling_says_its_metric_and_what_it_gained_over_seeds(facts):
    facts["distill"] |= {
        "evaluations": [{"step": 5, "metric": "WER", "value": 0.2}, {"step": 9, "metric": "WER", "value": 0.3}],
        "teacher_score": 0.1,
        "kept_step": 5,
        "trials": [
            {"kind": kind, "seed": seed, "metric": "WER", "value": value}
            for kind, seed, value in (
                ("distilled", 0, 0.2),
                ("distilled", 1, 0.3),
                ("distilled", 2, 0.4),
                ("control", 0, 0.5),
            )
        ],
    }
    assert line(facts, "distill") == (
        "128 k parameters, 2.70 M MACs, 12 epochs, WER 0.2000 at step 5 (the teacher's 0.1000), "
        "WER: distilled 0.3000 (0.2000 to 0.4000 over 3 seeds), control 0.5000, difference -0.2000"
    )
