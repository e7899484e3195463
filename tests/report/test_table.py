"""The table of variants: figures with units, reasons where there are none."""

from dataclasses import replace

from edgeopt import units
from edgeopt.profile.result import ContextProfile, GenerationProfile
from edgeopt.report.markdown import to_markdown
from edgeopt.report.model import PairedModels
from edgeopt.report.table import (
    GENERATION_COLUMNS,
    columns,
    conditions_line,
    device_rows,
    generation_line,
    generation_rows,
    known_columns,
    latency,
    table_title,
    variant_rows,
)
from edgeopt.report.terminal import terminal_summary
from edgeopt.tasks.paired import Paired


def test_a_row_has_a_cell_for_each_column(report):
    rows = variant_rows(report)
    assert [row[0] for row in rows] == [variant.name for variant in report.variants]
    assert {len(row) for row in rows} == {len(columns(report))}
    assert dict(zip(columns(report), rows[-1], strict=True))["size"] == "84.3 kB"


def test_a_latency_is_a_figure_or_the_reason_for_none(report):
    int8 = report.variant("int8")
    assert latency(int8, "p50").startswith("0.0612 ms")
    assert latency(int8, "p50").endswith("]")
    few = replace(int8, speed=replace(int8.speed, latency_ms={}, withheld={"p99": 300}))
    assert latency(few, "p99") == "needs 300 runs"
    assert latency(replace(int8, speed=None), "p50") == units.NONE
    assert latency(replace(int8, speed=replace(int8.speed, busy=True)), "p50").endswith("] (busy)")
    emulated = replace(int8, speed=replace(int8.speed, emulated=True))
    assert (latency(emulated, "p50"), latency(emulated, "p90")) == (units.NOT_MEASURED, units.NONE)


def test_columns_without_a_value_are_not_known(report):
    bare = replace(report, variants=tuple(replace(item, speed=None, parameters=None) for item in report.variants))
    names = [columns(report)[index] for index in known_columns(bare)]
    assert "model" in names and not {"p50", "speed-up", "peak memory", "parameters"} & set(names)


def test_models_of_a_profile_alone_are_no_steps(report):
    assert table_title(report) == "The model, step by step"
    assert (
        table_title(replace(report, variants=tuple(replace(item, stage="profile") for item in report.variants))) == "The models"
    )


def test_long_lists_of_the_device_are_counted(report):
    device = {"memory_bytes": 16_000_000_000, "flags": [str(n) for n in range(9)], "cores": 2, "gpu": None, "few": ["a", "b"]}
    rows = device_rows(replace(report, conditions=replace(report.conditions, device=device)))
    assert rows == [("memory", "16.0 GB"), ("flags", "9 (listed in report.json)"), ("cores", "2"), ("few", "a, b")]


def test_the_line_above_says_what_was_measured_how(report):
    line = conditions_line(report)
    assert "360 samples" in line and "1 thread" in line and "intervals at 95 %" in line and "speed-up over fp32" in line


def test_models_are_compared_in_pairs_below_the_table(report):
    found = Paired(-0.0104, -0.021, 0.0007, 0.07, 12, 102, "bootstrap")
    line = conditions_line(replace(report, pairs=(PairedModels("int8", "fp32", found),)))
    assert line.endswith(
        f"int8 against fp32 on the same 102: −1.04 points of {report.conditions.metric} (−2.10 to +0.07), 12 answers changed, "
        "p = 0.07 (bootstrap of pairs)."
    )


def test_generation_has_a_row_per_prompt_and_its_limit(report):
    row = ContextProfile(128, 200.0, 640.0, 50.0, 20.0, 21.0, 22.0, 96, 250_000_000, 7_000_000, 103_000_000, 200.0)
    model = GenerationProfile("int4", 1, 100_000_000, 20.6e9, (row, replace(row, context=512)), ())
    told = replace(report, generations=(model,))
    (first, second) = (dict(zip(GENERATION_COLUMNS, cells, strict=True)) for cells in generation_rows(told))
    assert (first["prompt"], second["prompt"], first["decode tokens/s"]) == ("128", "512", "50.0")
    assert first["of the bandwidth's limit"] == "25 % of 200"
    line = generation_line(told)
    assert "int4 reads 100 MB of weights and, after 128 tokens, 3.00 MB of cache for each token" in line
    assert "20.6 GB/s measured with 1 thread. 96 tokens" in line
    assert "## Generation" in to_markdown(told)
    assert "25 % of 200" in terminal_summary(told, width=None)


def test_the_distance_from_the_model_before_is_a_column_where_there_is_one(report):
    assert "KL" not in columns(report)
    last = replace(report.variants[-1], distances={"KL": 0.1234567})
    told = replace(report, variants=(*report.variants[:-1], last))
    place = columns(told).index("KL")
    assert [row[place] for row in variant_rows(told)][-2:] == [units.NONE, "0.1235"]
