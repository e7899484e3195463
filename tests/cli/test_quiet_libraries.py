"""With --quiet nothing of a library's reaches stderr; without it all is as before, and afterwards, too."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
import typer
from typer.testing import CliRunner

from edgeopt.cli.options import Quiet
from edgeopt.errors import ModelError
from edgeopt.graph.session import open_session

_app = typer.Typer()


@_app.command()
def talk(quiet: Quiet = False) -> None:
    warnings.warn("overflow encountered", RuntimeWarning, stacklevel=1)
    logging.getLogger("torch.onnx").warning("a note of torch")
    typer.echo(f"{quiet}")


@pytest.mark.filterwarnings("default")
def test_quiet_holds_for_the_libraries(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        quiet = CliRunner().invoke(_app, ["--quiet"])
        assert (quiet.exit_code, quiet.stdout, quiet.stderr, seen) == (0, "True\n", "", [])
        assert caplog.records == []
        loud = CliRunner().invoke(_app, [])
    assert loud.stdout == "False\n" and [str(item.message) for item in seen] == ["overflow encountered"]
    assert [record.message for record in caplog.records] == ["a note of torch"]
    assert capfd.readouterr().err == ""


def test_what_goes_wrong_in_onnxruntime_is_raised_and_not_logged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    bad (float[8, 16] x) => (float[n, 16] y) <int64[1] far = {99}> { s = Size (x) f = Add (s, far) y = Gather (x, f) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "bad.onnx")
    session = open_session(tmp_path / "bad.onnx")
    with pytest.raises(Exception, match="Gather"):
        session.run(None, {"x": np.ones((8, 16), np.float32)})
    with pytest.raises(ModelError):
        open_session(b"no model")
    assert capfd.readouterr().err == ""
