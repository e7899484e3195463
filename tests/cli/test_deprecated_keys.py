"""Keys of earlier versions are accepted; one line on stderr says what to use."""

from __future__ import annotations

import warnings

import pytest

from edgeopt.cli import main


@pytest.mark.filterwarnings("default")
def test_a_deprecated_key_of_a_recipe_gets_one_line(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # which main replaces
    monkeypatch.setattr("sys.argv", ["edgeopt", "run", "quickstart", "--set", "quantize.float_stem=false", "--dry-run"])
    main_exit_code = 0
    try:
        main()
    except SystemExit as exit_:
        main_exit_code = int(exit_.code or 0)
    assert main_exit_code == 0
    lines = capfd.readouterr().err.splitlines()
    assert 'edgeopt: warning: float_stem no longer has an effect: use float_layers = "auto" or "none"' in lines
