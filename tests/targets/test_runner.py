"""The line to a runner: errors mapped to who must act, and every way a runner can go away."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from edgeopt.errors import InternalError, MachineError, ModelError
from edgeopt.profile.measurement import cold_start
from edgeopt.targets.requests import PROTOCOL, Sent, greet, time_blocks
from edgeopt.targets.runner import ConnectionLost, ProcessRunner, write_batches
from edgeopt.targets.transports.local import this_machine


def _stub(code: str) -> ProcessRunner:
    return ProcessRunner([sys.executable, "-c", code], where="the stub")


def _replying(reply: bytes) -> ProcessRunner:
    """Return a runner that answers every request with `reply`."""
    return _stub(f"import sys\nfor _ in sys.stdin: sys.stdout.buffer.write({reply!r}); sys.stdout.flush()")


@pytest.mark.parametrize(
    "reply",
    [b"\xff\xfe{}\n", b"[" * 100_000 + b"\n", b'{"ok": {"x": NaN}}\n', b'{"ok": ' + b"9" * 5000 + b"}\n", b"\0\n"],
    ids=["not UTF-8", "nested deeply", "NaN", "a number of 5,000 digits", "NUL"],
)
def test_a_line_that_is_no_reply_ends_the_runner(reply: bytes) -> None:
    begin = time.monotonic()
    with _replying(reply) as runner, pytest.raises(ConnectionLost, match="unreadable reply") as caught:
        runner.ask({"do": "x"})
    assert str(caught.value).isprintable() and time.monotonic() - begin < 60  # it hung until the time limit of 600 s


def test_a_reply_that_is_cut_off() -> None:
    with (
        _stub("""input(); print('{"ok": {"path": "/tm', end='')""") as runner,
        pytest.raises(ConnectionLost, match="unreadable reply"),
    ):
        runner.ask({"do": "x"})


@pytest.mark.parametrize(
    ("kind", "error"), [("model", ModelError), ("machine", MachineError), ("request", InternalError), ("fault", InternalError)]
)
def test_errors_are_mapped(kind: str, error: type[Exception]) -> None:
    reply = f'{{"error": {{"kind": "{kind}", "message": "because"}}}}'
    with _stub(f"input(); print('{reply}')") as runner, pytest.raises(error, match="because"):
        runner.ask({"do": "x"})


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise SystemExit('no such module')", "no such module"),
        ("input(); import os; os.kill(os.getpid(), 9)", "exit status -9"),
        ("input(); print('warming up…')", "unreadable reply"),
        ("import sys; sys.stdin.close(); sys.stdout.close()", "exited unexpectedly"),
    ],
)
def test_a_runner_that_goes_away_is_noticed_and_its_last_words_kept(code: str, says: str) -> None:
    with _stub(code) as runner, pytest.raises(ConnectionLost, match=says):
        runner.ask({"do": "x"})


def test_last_words_do_not_reach_the_terminal_as_they_are() -> None:
    with _stub("import sys; sys.exit('\\x1b[31mred\\x07')") as runner, pytest.raises(ConnectionLost) as caught:
        runner.ask({"do": "x"})
    assert r"\x1b[31mred\x07" in str(caught.value) and str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("do", "reply", "says"),
    [
        ("hello", "[]", "neither 'ok' nor 'error'"),
        ("hello", '{"okay": 1}', "neither 'ok' nor 'error'"),
        ("hello", '{"ok": {"protocol": "1"}}', "reply to 'hello', protocol"),
        ("close", '{"ok": null}', "reply to 'close'"),
        ("close", '{"error": "no"}', "error"),
        ("close", '{"error": {"kind": "model", "message": 3}}', "error, message"),
        ("placement", '{"ok": {"partitions": [{"provider": "CPU", "nodes": [["only a name"]]}]}}', "partitions.0.nodes.0.1"),
        ("outputs", '{"ok": {"path": 7, "count": 1}}', "reply to 'outputs', path"),
        ("operators", '{"ok": {"runs": 1, "operators": [{"name": "n"}], "arena_peak_bytes": null}}', "operators.0.op"),
        ("cold", '{"ok": {"load_ns": -5, "first_run_ns": 1}}', "load_ns"),
    ],
)
def test_a_reply_of_another_form_is_one_line_that_names_the_field(do: str, reply: str, says: str) -> None:
    with _replying(reply.encode() + b"\n") as runner, pytest.raises(MachineError) as caught:
        runner.ask({"do": do})
    text = str(caught.value)
    assert text.startswith("the stub: its runner's reply has the wrong form") and says in text and text.isprintable()


def test_times_of_a_variant_that_was_not_asked_for_are_refused() -> None:
    noise = dict.fromkeys(("own_cpu_s", "others_cores", "steal_share")) | {"wall_s": 1.0, "involuntary_switches": 0}
    state = dict.fromkeys(("frequency_mhz", "temperature_c", "throttle_events", "energy_uj"))
    reply = json.dumps({"ok": {"blocks": [["other", [1, 2, 3]]], "noise": noise, "state": state}})
    with _replying(reply.encode() + b"\n") as runner:
        assert time_blocks(runner, [("other", 0, 3)]).blocks == [("other", [1, 2, 3])]
        with pytest.raises(MachineError, match="times of 'other', which was not requested"):
            time_blocks(runner, [("mine", 0, 3)])


def test_a_line_without_end_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeopt.targets.runner.MOST_BYTES", 1000)
    monkeypatch.setattr("edgeopt.targets.replies.MOST_BYTES", 1000)
    code = "import sys\ninput()\nwhile True: sys.stdout.write('x' * 100)"
    with _stub(code) as runner, pytest.raises(ConnectionLost, match="a line of more than"):
        runner.ask({"do": "x"}, timeout_s=30.0)


def test_a_runner_that_never_stops_talking_fills_no_memory_and_ends() -> None:
    with _stub("""while True: print('{"ok": {}}')""") as runner:
        assert runner.ask({"do": "x"}) == {}
        time.sleep(0.5)
        assert runner._lines.qsize() <= 64
    assert not runner._reader.is_alive()


def test_a_cold_start_that_does_not_end_is_ended(tmp_path: Path) -> None:
    endless = """
    <ir_version: 8, opset_import: ["": 17]>
    endless (float[1] x) => (float[1] y) <int64 most = {9223372036854775807}, bool go = {1}> {
      y = Loop <body = once (int64 i, bool on, float[1] seen) => (bool still, float[1] next) {
        still = Identity (on)
        next = Relu (seen)
      }> (most, go, x)
    }
    """
    onnx.save(onnx.parser.parse_model(endless), tmp_path / "endless.onnx")
    write_batches([{"x": np.ones(1, np.float32)}], tmp_path / "inputs.npz")
    sent = Sent(str(tmp_path / "endless.onnx"), str(tmp_path / "inputs.npz"), {})
    with this_machine().start() as runner:
        with pytest.raises(ModelError, match="did not end within 3 s"):
            cold_start(runner, sent, limit_s=3.0)
        assert greet(runner, where="here").protocol == PROTOCOL  # and the runner goes on


def test_texts_reach_the_runner(tmp_path: Path) -> None:
    texts = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (string[n] x) => (string[n] y) { y = Identity (x) }'
    )
    onnx.save(texts, tmp_path / "texts.onnx")
    write_batches([{"x": np.array(["größer", ""], object)}], tmp_path / "inputs.npz")
    with this_machine().start() as runner:
        assert cold_start(runner, Sent(str(tmp_path / "texts.onnx"), str(tmp_path / "inputs.npz"), {}), limit_s=60.0)


def test_a_runner_that_does_not_answer_is_ended() -> None:
    with _stub("import time; time.sleep(60)") as runner:
        with pytest.raises(ConnectionLost, match="no reply within 0 s"):
            runner.ask({"do": "x"}, timeout_s=0.2)
        assert runner._process.returncode is not None


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot start"):
        ProcessRunner([str(tmp_path / "python")], where="the stub")


def test_another_protocol_is_refused() -> None:
    here = {"protocol": 99, "versions": {}, "providers": [], "device": {}, "overhead_ns": 1}
    reply = json.dumps({"ok": here}).encode() + b"\n"
    with _replying(reply) as runner, pytest.raises(MachineError, match="protocol 99"):
        greet(runner, where="the stub")
