"""The tool that lists modules without a test file of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.check_mirror import has_logic, untested

DECLARES = '"""A."""\nclass A:\n    x: int\n\n    def get(self) -> int:\n        """Return x."""\n        return self.x\n'
COMPUTES = "def f(x):\n    y = x + 1\n    return y\n"


@pytest.mark.parametrize(("text", "found"), [(DECLARES, False), (COMPUTES, True), ("X = 1\n", False)])
def test_logic_is_more_than_declaring_or_handing_on(tmp_path: Path, text: str, found: bool) -> None:
    path = tmp_path / "a.py"
    path.write_text(text, encoding="utf-8")
    assert has_logic(path) is found


def test_a_module_is_tested_by_the_file_of_its_name(tmp_path: Path) -> None:
    for name in ("edgeopt/room/a.py", "edgeopt/room/b.py", "edgeopt/_c.py", "edgeopt/room/__init__.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(COMPUTES, encoding="utf-8")
    for name in ("tests/room/test_a.py", "tests/test_b.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert untested(tmp_path) == ["edgeopt/_c.py", "edgeopt/room/b.py"]
    (tmp_path / "tests/test_c.py").touch()
    assert untested(tmp_path) == ["edgeopt/room/b.py"]
