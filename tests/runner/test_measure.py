"""The runner: exact counting on a fake clock, its protocol, errors that say who must act, nothing left behind."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest

from edgeopt._folders import shipped

_RUNNER = shipped("deploy") / "runner" / "measure.py"

_DENSE = """
<ir_version: 8, opset_import: ["": 17]>
dense (float[N, 8] x) => (float[N, 4] y)
<float[8, 4] w = {1,0,0,0, 0,1,0,0, 0,0,1,0, 0,0,0,1, 1,1,0,0, 0,1,1,0, 0,0,1,1, 1,0,0,1}>
{ h = MatMul(x, w) y = Relu(h) }
"""

_BRANCH = """
<ir_version: 8, opset_import: ["": 17]>
branch (float[4] x, bool c) => (float[4] y) {
  y = If (c) <
    then_branch = then_graph () => (float[4] t) { t = Exp(x) },
    else_branch = else_graph () => (float[4] e) { e = Neg(x) }
  >
}
"""


@pytest.fixture
def dense(tmp_path: Path) -> dict[str, Any]:
    onnx.save(onnx.parser.parse_model(_DENSE), tmp_path / "dense.onnx")
    rows = {f"{number}/x": np.full((number + 1, 8), number - 1, np.float32) for number in range(3)}
    np.savez(tmp_path / "inputs.npz", **rows)
    return {"model": str(tmp_path / "dense.onnx"), "inputs": str(tmp_path / "inputs.npz"), "session": {"threads": 1}}


_WRONG_SHAPE = """
<ir_version: 8, opset_import: ["": 17]>
wrong (float[N, 8] x) => (float[1, 8] y) { y = Relu(x) }
"""


@pytest.fixture
def server(measure: ModuleType, tmp_path: Path) -> Any:
    return measure.Server(str(tmp_path))


def _ask(server: Any, **request: Any) -> Any:
    reply = server.answer(json.dumps(request))
    assert "ok" in reply, reply
    return reply["ok"]


def _error(server: Any, **request: Any) -> tuple[str, str]:
    error = server.answer(json.dumps(request))["error"]
    return error["kind"], error["message"]


def test_a_fake_clock_gives_exactly_the_planted_times(measure: ModuleType) -> None:
    now = [1000]

    def call(duration: int) -> Any:
        return lambda: now.__setitem__(0, now[0] + duration)

    assert measure.time_calls([call(7), call(1), call(300)], clock=lambda: now[0])[0] == [7, 1, 300]


def test_timing_itself_costs_less_than_five_microseconds(measure: ModuleType) -> None:
    assert min(measure.overhead_ns() for _ in range(3)) <= 5_000


def test_it_is_written_for_python_3_9_and_needs_only_numpy_and_onnxruntime() -> None:
    tree = ast.parse(_RUNNER.read_text(encoding="utf-8"), feature_version=(3, 9))
    names = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names - set(sys.stdlib_module_names) == {"numpy", "onnxruntime"}


def test_blocks_are_run_in_the_order_given_with_the_batches_asked_for(measure: ModuleType, server: Any) -> None:
    ran: list[tuple[str, int]] = []

    def variant(name: str) -> Any:
        made = object.__new__(measure.Variant)
        made.bound = False
        made.calls = [lambda number=number: ran.append((name, number)) for number in range(3)]
        return made

    server.variants = {"a": variant("a"), "b": variant("b")}
    reply = _ask(server, do="sample", blocks=[["a", 1, 3], ["b", 0, 2], ["a", 5, 1]])
    assert ran == [("a", 1), ("a", 2), ("a", 0), ("b", 0), ("b", 1), ("a", 2)]
    assert [(name, len(taken)) for name, taken, _ in reply["blocks"]] == [("a", 3), ("b", 2), ("a", 1)]
    assert reply["noise"]["wall_s"] > 0


def test_sampling_stops_between_blocks_when_its_time_is_over(measure: ModuleType, server: Any) -> None:
    made = object.__new__(measure.Variant)
    made.bound = False
    made.calls = [lambda: None]
    server.variants = {"a": made}
    assert len(_ask(server, do="sample", blocks=[["a", 0, 1]] * 9, limit_s=0)["blocks"]) == 1


def test_open_sample_outputs_and_close(server: Any, dense: dict[str, Any]) -> None:
    opened = _ask(server, do="open", name="d", **dense)
    assert opened["batches"] == 3 and opened["providers"] == ["CPUExecutionProvider"] and opened["call"] == "io_binding"
    assert opened["load_ns"] > 0 and opened["first_run_ns"] > 0
    [[name, samples, own]] = _ask(server, do="sample", blocks=[["d", 0, 7]])["blocks"]
    assert name == "d" and len(samples) == len(own) == 7 and min(samples) > 0
    with np.load(_ask(server, do="outputs", name="d")["path"]) as stored:
        assert stored["2/y"].shape == (3, 4) and stored["2/y"].tolist()[0] == [3, 3, 3, 3]
        assert not stored["0/y"].any()  # negative rows, through Relu
    _ask(server, do="close", name="d")
    assert _error(server, do="sample", blocks=[["d", 0, 1]]) == ("request", "variant 'd' is not open; open: none")


def test_operators_are_counted_per_run_without_the_first_and_the_profile_is_removed(
    server: Any, dense: dict[str, Any], tmp_path: Path
) -> None:
    _ask(server, do="open", name="d", **dense)
    before = set(tmp_path.iterdir())
    reply = _ask(server, do="operators", name="d", runs=5)
    for op in ("MatMul", "Relu"):  # one entry for each shape; five runs go round three batches
        calls = [node["calls"] for node in reply["operators"] if node["op"] == op]
        assert len(calls) == 3 and sum(calls) == pytest.approx(1)
    shapes = {tuple(node["inputs"][0][1]) for node in reply["operators"]}
    assert shapes == {(1, 8), (2, 8), (3, 8), (1, 4), (2, 4), (3, 4)} and reply["runs"] == 5
    assert set(tmp_path.iterdir()) == before


def test_a_node_with_a_subgraph_counts_without_what_ran_inside(measure: ModuleType, tmp_path: Path) -> None:
    def event(name: str, ts: int, dur: int, op: str) -> dict[str, Any]:
        return {"name": f"{name}_kernel_time", "ts": ts, "dur": dur, "args": {"op_name": op, "provider": "CPU"}}

    trace = [
        {"name": "model_run", "ts": 0, "dur": 100},
        event("if", 10, 80, "If"),
        {"name": "model_run", "ts": 200, "dur": 100},
        event("if", 210, 80, "If"),
        event("exp", 220, 30, "Exp"),
        event("neg", 255, 20, "Neg"),
        event("add", 292, 5, "Add"),
    ]
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(trace))
    times = {node["name"]: node["us"] for node in measure.read_profile(str(path))["operators"]}
    assert times == {"if": 30.0, "exp": 30.0, "neg": 20.0, "add": 5.0}


def test_memory_rises_and_falls_with_what_is_alive(server: Any, tmp_path: Path) -> None:
    megabyte = 4 * 512 * 512
    model = """<ir_version: 8, opset_import: ["": 17]> net (float[512, 512] x, float[512, 1] c) => (float[512, 1] y)
    { [wide] a = Exp (x) [twin] b = MatMul (a, x) [join] d = MatMul (a, b) [narrow] y = MatMul (d, c) }"""
    onnx.save(onnx.parser.parse_model(model), tmp_path / "net.onnx")
    np.savez(tmp_path / "in.npz", **{"0/x": np.zeros((512, 512), np.float32), "0/c": np.zeros((512, 1), np.float32)})
    _ask(server, do="open", name="m", model=str(tmp_path / "net.onnx"), inputs=str(tmp_path / "in.npz"))
    reply = _ask(server, do="operators", name="m", runs=2)
    assert [point[0] for point in reply["memory"]] == ["wide", "twin", "join", "narrow"]
    alive = [round(held / megabyte) for _, _, _, held in reply["memory"]]
    assert alive == [1, 2, 3, 1]  # an operator's inputs go after it
    assert reply["arena_peak_bytes"] >= 3 * megabyte, reply["memory"]
    assert [point[2] for point in reply["memory"]] == sorted(point[2] for point in reply["memory"])


def test_control_flow_is_profiled_for_real(server: Any, tmp_path: Path) -> None:
    onnx.save(onnx.parser.parse_model(_BRANCH), tmp_path / "branch.onnx")
    np.savez(tmp_path / "in.npz", **{"0/x": np.ones(4, np.float32), "0/c": np.array(True)})
    _ask(server, do="open", name="b", model=str(tmp_path / "branch.onnx"), inputs=str(tmp_path / "in.npz"))
    operators = _ask(server, do="operators", name="b", runs=3)["operators"]
    assert {node["op"] for node in operators} == {"If", "Exp"}


def test_a_cold_start_reports_memory_of_its_own_process(server: Any, dense: dict[str, Any]) -> None:
    ballast = bytearray(300_000_000)  # a child inherits its parent's peak in ru_maxrss; it must not be reported as the model's
    ballast[::4096] = b"x" * len(ballast[::4096])
    cold = _ask(server, do="cold", **dense)
    assert cold["load_ns"] > 0 and cold["first_run_ns"] > 0
    assert 0 < cold["before_rss_bytes"] <= cold["peak_rss_bytes"] < 250_000_000
    labels, times, resident = zip(*cold["memory"], strict=True)
    assert labels == ("before load", "loaded", "first run", "steady, 6 runs") and list(times) == sorted(times)
    assert all(0 < size <= cold["peak_rss_bytes"] for size in resident)
    del ballast


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        ({"model": "/nowhere.onnx"}, "model", "no such file"),
        ({"model": __file__}, "model", "cannot load it"),
        ({"inputs": __file__}, "request", "not a file of batches"),
        ({"session": {"provider": "NoSuchProvider"}}, "machine", "provider NoSuchProvider is not in onnxruntime"),
        ({"session": {"plugin": {"module": "no_such_module", "name": "x"}}}, "machine", "no_such_module is not installed"),
    ],
)
def test_errors_say_who_must_act(server: Any, dense: dict[str, Any], change: dict[str, Any], kind: str, says: str) -> None:
    got, message = _error(server, do="open", name="d", **{**dense, **change})
    assert got == kind and says in message and "\n" not in message


def test_a_provider_that_is_built_in_but_does_not_start_is_the_machines_error(
    measure: ModuleType, server: Any, dense: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure.ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):  # onnxruntime's; it falls back to the CPU
        kind, message = _error(server, do="open", name="d", **{**dense, "session": {"provider": "CUDAExecutionProvider"}})
    assert kind == "machine" and "did not start; its libraries may be missing" in message


def test_wrong_inputs_are_the_models_error(server: Any, dense: dict[str, Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "wide.npz", **{"0/x": np.ones((1, 9), np.float32)})
    kind, message = _error(server, do="open", name="d", **{**dense, "inputs": str(tmp_path / "wide.npz")})
    assert kind == "model" and "cannot run it" in message


@pytest.mark.parametrize("line", ["", "[]", "{", '{"do": "explode"}', '{"do": "open"}', "null", '{"do": ["x"]}'])
def test_nonsense_gets_a_request_error_and_the_server_lives_on(server: Any, line: str) -> None:
    assert server.answer(line)["error"]["kind"] == "request"
    assert "frequency_mhz" in _ask(server, do="state")


def test_served_over_pipes_it_answers_line_by_line_and_leaves_nothing_behind(dense: dict[str, Any], tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    lines = [{"do": "hello"}, {"do": "open", "name": "d", **dense}, {"do": "operators", "name": "d", "runs": 2}]
    served = subprocess.run(
        [sys.executable, str(_RUNNER), "serve"],
        input="".join(json.dumps(line) + "\n" for line in lines),
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
        timeout=120,
        check=True,
    )
    hello, opened, operators = (json.loads(line)["ok"] for line in served.stdout.splitlines())
    assert hello["protocol"] == 1 and "CPUExecutionProvider" in hello["providers"]
    assert hello["device"]["cores"] == os.cpu_count() and set(hello["versions"]) == {"python", "numpy", "onnxruntime"}
    assert opened["batches"] == 3 and operators["runs"] == 2
    assert list(scratch.iterdir()) == []


def test_wrong_arguments_print_the_manual(measure: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert measure.main(["dance"]) == 2
    assert "JSON" in capsys.readouterr().err
    assert tempfile.gettempdir()


def test_scalar_inputs_keep_their_shape(server: Any, tmp_path: Path) -> None:
    model = """<ir_version: 8, opset_import: ["": 17]> scale (float[2] x, float k) => (float[2] y) { y = Mul (x, k) }"""
    onnx.save(onnx.parser.parse_model(model), tmp_path / "scale.onnx")
    np.savez(tmp_path / "in.npz", **{"0/x": np.ones(2, np.float32), "0/k": np.float32(3)})
    _ask(server, do="open", name="s", model=str(tmp_path / "scale.onnx"), inputs=str(tmp_path / "in.npz"))
    with np.load(_ask(server, do="outputs", name="s")["path"]) as stored:
        assert stored["0/y"].tolist() == [3, 3]


def test_a_runner_that_is_told_to_stop_leaves_nothing_behind(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, str(_RUNNER), "serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as served:
        assert served.stdin is not None and served.stdout is not None
        served.stdin.write('{"do": "hello"}\n')
        served.stdin.flush()
        assert "ok" in served.stdout.readline() and len(list(tmp_path.iterdir())) == 1
        served.terminate()
        assert served.wait(timeout=30) == 143
    assert list(tmp_path.iterdir()) == []


def test_outputs_whose_declared_shape_is_wrong_are_not_bound(
    measure: ModuleType, dense: dict[str, Any], tmp_path: Path
) -> None:
    onnx.save(onnx.parser.parse_model(_WRONG_SHAPE), tmp_path / "wrong.onnx")
    batches = measure.read_batches(dense["inputs"])
    wrong = measure.Variant(str(tmp_path / "wrong.onnx"), batches, {"threads": 1})
    right = measure.Variant(dense["model"], batches, {"threads": 1})
    assert len(wrong.take(0, 7)[0]) == len(right.take(0, 7)[0]) == 7
    assert right.bound and not wrong.bound
