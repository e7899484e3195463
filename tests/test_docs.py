"""The documentation: tutorial and how-to pages run as they are written, and say what the sources say."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeopt.targets.target import Target

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*(DOCS / "how-to").glob("*.md"), DOCS / "contributing" / "add-a-target.md"])


def run_blocks(page: Path, folder: Path) -> int:
    """Run the bash and Python blocks of `page` in `folder`, in their order; return how many there are."""
    blocks = re.findall(r"^```(bash|python)\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    }
    for language, code in blocks:
        command = ["bash", "-euo", "pipefail", "-c", code] if language == "bash" else [sys.executable, "-c", code]
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{code}\n{result.stdout}\n{result.stderr}"
    return len(blocks)


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the tutorial leaves behind."""
    folder = tmp_path_factory.mktemp("tutorial")
    assert run_blocks(DOCS / "tutorial.md", folder) >= 8
    return folder


def test_the_tutorial_runs_as_written(tutorial: Path) -> None:
    for made in ("report/report.html", "bundle/bundle.json", "budgets.xml"):
        assert (tutorial / made).is_file(), made


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_how_to_pages_run_in_the_folder_of_the_tutorial(page: Path, tutorial: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tutorial"
    shutil.copytree(tutorial, folder)
    assert run_blocks(page, folder) >= 1


def source_texts() -> Iterator[str]:
    """Yield every text constant of the package and of what runs on the device."""
    for folder in ("edgeopt", "deploy"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_messages_of_the_troubleshooting_page_exist() -> None:
    rows = re.findall(r"^\| (.*?) \|", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    messages = {message for row in rows for message in re.findall(r"`([^`]+)`", row) if not message.startswith("edgeopt ")}
    texts = "\n".join(source_texts())
    parts = {part.strip(" '") for message in messages for part in message.split("…")}
    assert {part for part in parts if part and part not in texts} == set()
    assert len(messages) >= 30


def test_targets_shown_in_the_documentation_are_valid() -> None:
    for page in [*PAGES, DOCS / "contributing" / "add-a-target.md"]:
        for block in re.findall(r"(?:```toml\n|<<'TOML'\n)(.*?)(?:```|TOML\n)", page.read_text(encoding="utf-8"), re.DOTALL):
            values = tomllib.loads(block)
            if "device" in values:
                Target.read({"name": "shown", **values}, where=page.name)


def test_the_site_builds_and_loads_nothing_from_the_network(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    loaded = {
        (page.name, address)
        for page in pages
        for address in re.findall(r"<(?:script|img|iframe)\b[^>]*\bsrc=\"?(https?:[^\"\s>]+)", page.read_text(encoding="utf-8"))
        + re.findall(r"<link\b[^>]*rel=\"?stylesheet\"?[^>]*href=\"?(https?:[^\"\s>]+)", page.read_text(encoding="utf-8"))
    }
    assert len(pages) > 30
    assert loaded == set()
