"""The commands: help without heavy imports, exit codes, output that scripts read."""

from __future__ import annotations

import resource
import subprocess
import sys

from tests.cli.conftest import edgeopt

COMMANDS = [
    "run",
    "distill",
    "prune",
    "export",
    "quantize",
    "profile",
    "sweep",
    "scenarios",
    "compare",
    "bundle",
    "verify",
    "report",
    "recipes",
    "targets",
]


def test_help_answers_at_once_and_without_heavy_imports() -> None:
    heavy = {"torch", "onnxruntime", "transformers", "onnx", "plotly", "pydantic"}
    code = f"import sys, edgeopt, edgeopt.cli; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert edgeopt("--help").returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    assert seconds < 0.4, f"edgeopt --help took {seconds:.2f} s of processor time"


def test_every_command_has_help() -> None:
    listed = edgeopt("--help").stdout
    for command in COMMANDS:
        assert f"\n  {command} " in listed
        text = edgeopt(command, "--help")
        assert text.returncode == 0
        assert f"edgeopt {command}" in text.stdout


def test_a_wrong_option_ends_with_2() -> None:
    assert edgeopt("run", "--no-such-option").returncode == 2
