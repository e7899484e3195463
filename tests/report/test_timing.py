"""The latency plots: every run is in a bin, what is missing is named."""

from dataclasses import replace

import pytest

from edgeopt.report.timing import latency_distribution, timed


def with_samples(report, name, samples, **speed):
    variant = report.variant(name)
    changed = replace(variant, speed=replace(variant.speed, samples_ms=tuple(samples), **speed))
    return replace(report, variants=(changed,))


def test_only_variants_with_single_runs_are_drawn(report):
    assert {variant.name for variant, _ in timed(report)} == {"teacher", "distill", "fp32", "int8"}
    assert timed(with_samples(report, "int8", [1.0])) == []
    assert latency_distribution(with_samples(report, "int8", [1.0])) is None


def test_the_highest_bin_is_eight_tenths_and_the_share_of_others_is_kept(report):
    figure = latency_distribution(with_samples(report, "int8", [1.0] * 8 + [1.1] * 4, latency_ms={}))
    ridge = figure.traces[0]
    heights = sorted(set(ridge["y"]))
    assert heights == pytest.approx([0.0, 0.4, 0.8])


def test_runs_beyond_the_edge_are_counted(report):
    figure = latency_distribution(with_samples(report, "int8", [1.0] * 400 + [50.0], latency_ms={}))
    assert "1 slower run is beyond the right edge." in figure.caption


def test_withheld_percentiles_are_named_with_the_runs_they_need(report):
    figure = latency_distribution(with_samples(report, "int8", [1.0, 1.1, 1.2], withheld={"p99.9": 4000}))
    assert "Withheld because of too few runs: p99.9 of int8 (needs 4,000 runs)." in figure.caption
