"""A family in a package of its own, built, installed and found: as the documentation shows it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "contributing" / "add-an-exporter.md"


def fenced(kind: str, first: str) -> str:
    """Return the code block of the page "Add an exporter" in the language `kind` that contains `first`."""
    blocks = re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return next(block for block in blocks if first in block)


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Build the package of the page and install it into a folder of its own."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("target")
    (source / "pyproject.toml").write_text(fenced("toml", "edgeopt.exporters"), encoding="utf-8")
    (source / "edgeopt_megatron_bert.py").write_text(fenced("python", "FAMILY = Family("), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(target), str(source)], check=True, capture_output=True)
    return target


def test_a_family_of_another_package_is_found_and_exports(tmp_path, installed):
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        from edgeopt.export.proof import prove
        from edgeopt.export.registry import family_names, family_of
        from edgeopt.targets.target import load_target

        assert "megatron_bert" in family_names()
        family = family_of("megatron-bert")
        row = prove(family, "text-classification", target=load_target("x86-vnni"), folder=Path(sys.argv[1]))
        print(row.exports, row.reason, sorted(row.dynamic), row.relative_error < 1e-4)
    """)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert shown.stdout.strip() == "True  ['batch', 'sequence'] True", shown.stderr[-2000:]


def test_without_the_package_there_is_no_such_family():
    from edgeopt.errors import ModelError
    from edgeopt.export.registry import family_of

    with pytest.raises(ModelError, match="no family exports models of type 'megatron-bert'"):
        family_of("megatron-bert")
