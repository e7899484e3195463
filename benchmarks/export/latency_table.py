"""Single-thread latency of every family's graph beside other exporters' graphs of the same random model.

    python -m benchmarks.export.latency_table export  [FAMILY]…  once, an hour; resumable
    OPTIMUM/bin/python benchmarks/export/optimum_graphs.py build/latency                     the peer's, likewise
    python -m benchmarks.export.latency_table measure [FAMILY]…  quiet, 12 minutes
    python -m benchmarks.export.latency_table measure --before FOLDER [FAMILY]…  beside edgeopt's graphs of another commit,
        which `export --own` wrote into FOLDER there

Compared with edgeopt's graph are torch.onnx.export at opset 20 and 24 (`torch20`, `torch24`), both after the optimizer of
onnxruntime (`…opt`), and optimum-onnx. Sessions of one model run in turns in one process; a ratio is the median over rounds of
(that graph's time / edgeopt's time in the same round): above 1 edgeopt is faster. Where a session's weights come to lie in
memory is worth up to 2 % (the same file, opened twice), so all are opened several times, in turned order: the ratio is the
median of the openings', with their smallest and largest. Each shape runs for a fixed time.

Encoder-decoders are cut as edgeopt cuts them (the encoder gives the keys and values of the cross-attention), which the
encoder of optimum-onnx does not, so that one is left out.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from benchmarks.export.wide import build, cases, sizes
from edgeopt.errors import EdgeoptError
from edgeopt.export.registry import load_family
from edgeopt.graph import files
from edgeopt.graph.session import open_session
from edgeopt.machine import describe

PEERS = ("torch20", "torch20opt", "torch24", "torch24opt", "optimum")
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
"""Processor time is for a busy machine: what others run still costs caches, but not turns."""
_WARM_UP = 3
_FEWEST_ROUNDS = 7
_OPENINGS = 5


def export_case(folder: Path, name: str, task: str, *, own: bool) -> None:
    """Write all graphs of one model that are made in this environment, and the model for the other; `own`: edgeopt's alone."""
    from edgeopt.export import ExportConfig, export
    from edgeopt.export.family import random_samples
    from edgeopt.targets.target import load_target

    family = load_family(name)
    model = build(family, task)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder / "source")
    samples = random_samples(family.tasks[task], model.config)
    # parity is proven elsewhere, at the size of tests; here two of RT-DETR's 100 candidates may change places
    config = ExportConfig(task=task, tolerance=10 if name == "rt_detr" else 1e-3)
    for path in (folder / "made").glob("*"):
        path.unlink()
    made = export(model, samples, target=load_target("x86-vnni"), output=folder / "made", config=config)
    for path in files.external_files(made.path):
        path.replace(folder / path.name)
    made.path.replace(folder / "edgeopt.onnx")
    if own:
        return
    for opset in (20, 24):
        try:
            _plain(model, family.tasks[task], samples, opset, folder / f"torch{opset}.onnx")
            _optimized(folder / f"torch{opset}.onnx", name, model.config)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is the row's reason)
            reason = f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0][:150]}"
            (folder / f"torch{opset}.txt").write_text(reason)
    (folder / "case.json").write_text(json.dumps({"family": name, "task": task}))


def _plain(model: Any, task: Any, samples: Any, opset: int, path: Path) -> None:
    """Export as torch's documentation shows, with the same inputs, outputs and axes as edgeopt."""
    import onnx_ir as ir

    from edgeopt.export.program import Program, tensors
    from edgeopt.export.trace import to_onnx, trace

    axes = task.axes(model.config)
    program = Program(task.wrap(model), list(samples[0]))
    example = tensors(samples[0], program.inputs)
    program.name_outputs(example, task.outputs)
    graph, _ = to_onnx(program, trace(program, example, axes), axes, opset=opset)
    ir.save(graph, path)


def _optimized(path: Path, family: str, config: Any) -> None:
    """Run onnxruntime's transformer optimizer, told the kind of model where it knows one."""
    from onnxruntime.transformers.optimizer import MODEL_TYPES, optimize_model

    kind = family if family in MODEL_TYPES else {"whisper": "bart", "marian": "bart"}.get(family, "bert")
    heads, width = getattr(config, "num_attention_heads", 0) or 0, getattr(config, "hidden_size", 0) or 0
    heads, width = (heads if isinstance(heads, int) else 0), (width if isinstance(width, int) else 0)
    done = optimize_model(str(path), model_type=kind, num_heads=heads, hidden_size=width)
    done.save_model_to_file(str(path.with_name(f"{path.stem}opt.onnx")))


def feeds(session: ort.InferenceSession, drawn: dict[str, np.ndarray], lengths: dict[str, int]) -> dict[str, np.ndarray]:
    """Return inputs for `session`: those of edgeopt's graph by name, a cache of another layout by the names of its axes."""
    rng = np.random.default_rng(0)
    found = {}
    for value in session.get_inputs():
        if value.name in drawn:
            found[value.name] = drawn[value.name]
        elif value.name == "input_ids" and "decoder_input_ids" in drawn:
            found[value.name] = drawn["decoder_input_ids"]
        elif len(value.shape) == 4:
            kept = lengths["source"] if "encoder" in value.name or "cross" in value.name else lengths["past_sequence"]
            sizes_ = [size if isinstance(size, int) else (1, 0, kept, 0)[axis] for axis, size in enumerate(value.shape)]
            found[value.name] = rng.normal(size=sizes_).astype(np.float32)
        else:
            raise LookupError(f"no value for input '{value.name}' {value.shape}")
    return found


Runs = list[tuple[ort.InferenceSession, dict[str, np.ndarray]]]


def interleaved(runs: Runs, seconds: float, clock: Callable[[], float]) -> np.ndarray:
    """Return milliseconds [rounds, sessions] of about `seconds` altogether; each round runs every session once."""
    rows: list[list[float]] = []
    started = time.perf_counter()
    while len(rows) < _WARM_UP + _FEWEST_ROUNDS or time.perf_counter() - started < seconds:
        row = []
        for session, feed in runs:
            before = clock()
            session.run(None, feed)
            row.append((clock() - before) * 1e3)
        rows.append(row)
    return np.array(rows[_WARM_UP:])


def over_openings(openings: list[np.ndarray]) -> tuple[float, float, float]:
    """Return the median, smallest and largest of the openings' median ratios; 5 openings hold the median with 94 %."""
    medians = [float(np.median(ratios)) for ratios in openings]
    return float(np.median(medians)), min(medians), max(medians)


def measure_case(
    folder: Path, seconds: float, clock: Callable[[], float], *, peers: tuple[str, ...] = PEERS
) -> list[dict[str, Any]]:
    """Return one row per shape: milliseconds of edgeopt's graph and the ratio of each peer, or why there is none."""
    case = json.loads((folder / "case.json").read_text())
    task = load_family(case["family"]).tasks[case["task"]]
    config = _config(folder / "source")
    vocabulary = int(getattr(getattr(config, "text_config", None) or config, "vocab_size", None) or 2)
    shapes = sizes(case["task"])
    rows: dict[str, dict[str, Any]] = {shape: {**case, "shape": shape, "missing": {}} for shape in shapes}
    taken: dict[str, list[dict[str, np.ndarray]]] = {shape: [] for shape in shapes}
    for opening in range(_OPENINGS):
        sessions, missing = _open(folder, case["task"], ("edgeopt", *peers), turned_by=opening)
        for shape, lengths in shapes.items():
            rng = np.random.default_rng(0)
            drawn = {key: value.draw(lengths, vocabulary=vocabulary, rng=rng) for key, value in task.inputs(config).items()}
            runs, failed = _runs(sessions, drawn, lengths)
            rows[shape]["missing"] |= missing | failed
            if "edgeopt" not in runs:
                raise SystemExit(f"{folder}: edgeopt's own graph does not run: {rows[shape]['missing']}")
            times = interleaved(list(runs.values()), seconds / _OPENINGS, clock)
            taken[shape].append(dict(zip(runs, times.T, strict=True)))
    for shape, row in rows.items():
        row["ms"] = float(np.median(np.concatenate([times["edgeopt"] for times in taken[shape]])))
        row["ratios"] = {
            name: over_openings([times[name] / times["edgeopt"] for times in taken[shape]])
            for name in peers
            if name in taken[shape][0]
        }
    return list(rows.values())


def _open(
    folder: Path, task: str, names: tuple[str, ...], *, turned_by: int
) -> tuple[dict[str, ort.InferenceSession], dict[str, str]]:
    """Return a session for each graph, opened in turned order, and why the others have none."""
    sessions, missing = {}, {}
    for name in names[turned_by % len(names) :] + names[: turned_by % len(names)]:
        reason = _reason(folder, name, task)
        if reason is None:
            try:
                sessions[name] = open_session(folder / f"{name}.onnx")
            except EdgeoptError:
                reason = "onnxruntime does not load its file"
        if reason is not None:
            missing[name] = reason
    return sessions, missing


def _reason(folder: Path, name: str, task: str) -> str | None:
    """Return why there is no graph of that name to compare with, as its export noted; None if there is one."""
    if name == "optimum" and task.endswith("/encoder"):
        return "split differently: the encoder without the keys and values of the cross-attention"
    if (folder / f"{name}.onnx").exists():
        return None
    noted = folder / f"{name.removesuffix('opt')}.txt"
    return re.sub(r"/\S*/site-packages/", "", noted.read_text().strip()) if noted.exists() else "it could not be made"


def _runs(
    sessions: dict[str, ort.InferenceSession], drawn: dict[str, np.ndarray], lengths: dict[str, int]
) -> tuple[dict[str, tuple[ort.InferenceSession, dict[str, np.ndarray]]], dict[str, str]]:
    """Return each session with its inputs after one run, and why the others do not run."""
    runs, failed = {}, {}
    for name, session in sessions.items():
        try:
            feed = feeds(session, drawn, lengths)
            session.run(None, feed)
            runs[name] = (session, feed)
        except Exception as error:  # noqa: BLE001  (onnxruntime's exceptions share no base)
            failed[name] = (str(error).strip() or type(error).__name__).splitlines()[0][-120:]
    return runs, failed


def _config(source: Path) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(source)


def _slower(largest: float) -> bool:
    """Return whether edgeopt's graph is slower by more than 1 % even in the opening with the largest ratio."""
    return largest < 0.99


def line(row: dict[str, Any], peers: tuple[str, ...] = PEERS) -> str:
    """Return a row of the Markdown table; what is slower than a peer in every opening is bold."""
    cells = []
    for peer in peers:
        if peer in row["ratios"]:
            median, low, high = row["ratios"][peer]
            cell = f"{median:.2f} ({low:.2f}–{high:.2f})"
            cells.append(f"**{cell}**" if _slower(high) else cell)
        else:
            cells.append("–")
    return f"| {row['family']} | {row['task']} | {row['shape']} | {row['ms']:.2f} | " + " | ".join(cells) + " |"


_TITLE = """# Latency beside other exporters

Written by `make bench-export`. One random model per family (two layers of width 384 where that applies), single-threaded on
onnxruntime's CPU provider, all graphs of a row interleaved in one process. A ratio is the median of (that graph's time /
edgeopt's time in the same round): above 1 edgeopt is faster. All graphs are opened five times, because the memory addresses of
the weights change the time by up to 2 %; given are the median, smallest and largest of the openings. torch20, torch24: plain
torch.onnx.export at that opset; …opt: after onnxruntime's transformer optimizer; optimum: optimum-onnx 0.1.0 on
transformers 4.57. –: there is no such graph; the reasons are listed below the table.

"""


def _missing(rows: list[dict[str, Any]]) -> str:
    """Return why graphs are missing, one line per reason."""
    why: dict[str, list[str]] = {}
    for row in rows:
        for peer, reason in row["missing"].items():
            why.setdefault(f"{peer}: {reason}", []).append(f"{row['family']} {row['shape']}")
    return "".join(f"- {reason} ({', '.join(where)})\n" for reason, where in sorted(why.items()))


def page(rows: list[dict[str, Any]], peers: tuple[str, ...] = PEERS) -> str:
    """Return the table with what it was measured on."""
    head = "| family | task | shape | edgeopt, ms | " + " | ".join(peers) + " |\n|---|---|---|---|" + "---|" * len(peers)
    slower = [f"{row['family']} {row['shape']}" for row in rows if any(_slower(high) for _, _, high in row["ratios"].values())]
    where = (
        f"onnxruntime {ort.__version__}, one thread, {describe()['processor']}, {os.cpu_count()} cores, {datetime.date.today()}"
    )
    summary = (
        f"{len(rows)} rows; slower than one of the others by more than 1 % in every opening: {', '.join(slower) or 'none'}."
    )
    table = "\n".join(line(row, peers) for row in rows)
    title = _TITLE if peers == PEERS else ""
    return f"{title}{head}\n{table}\n\n{summary} {where}.\n\n{_missing(rows)}"


def main() -> int:
    """Return 1 if edgeopt's graph is slower than a peer's somewhere."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["export", "measure"])
    parser.add_argument("families", nargs="*")
    parser.add_argument("--folder", type=Path, default=Path("build/latency"))
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--again", action="store_true", help="export also what is there already")
    parser.add_argument("--own", action="store_true", help="export edgeopt's graphs again, and only those")
    parser.add_argument(
        "--before", type=Path, help="graphs that an earlier commit exported, to compare with in the peers' place"
    )
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    peers = PEERS if arguments.before is None else ("before",)
    for name, task in cases():
        folder = arguments.folder / f"{name}-{task.replace('/', '-')}"
        if arguments.families and name not in arguments.families:
            continue
        done = (folder / "case.json").exists()
        if arguments.step == "export" and (arguments.again or arguments.own or not done):
            try:
                export_case(folder, name, task, own=arguments.own and done)
                print(f"{name} {task}: exported", file=sys.stderr, flush=True)
            except Exception as error:  # noqa: BLE001  (one family that fails must not cost the others)
                print(f"{name} {task}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr, flush=True)
        if arguments.step == "measure" and done:
            if arguments.before is not None:
                earlier = files.load(arguments.before / folder.name / "edgeopt.onnx")
                files.save(earlier, folder / "before.onnx", external=False)
            rows += measure_case(folder, arguments.seconds, CLOCKS[arguments.clock], peers=peers)
            print("\n".join(line(row, peers) for row in rows[-3:] if row["family"] == name), file=sys.stderr, flush=True)
    if arguments.step == "measure":
        if arguments.output:
            arguments.output.write_text(page(rows, peers), encoding="utf-8")
        print(page(rows, peers))
    return int(any(_slower(high) for row in rows for _, _, high in row["ratios"].values()))


if __name__ == "__main__":
    sys.exit(main())
