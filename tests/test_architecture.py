"""The page on the architecture names files that exist."""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_PAGE = _ROOT / "docs" / "concepts" / "architecture.md"


def test_the_files_of_where_to_look_exist() -> None:
    table = _PAGE.read_text(encoding="utf-8").partition("## Where to look")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(rows) >= 12
    for row in rows:
        names = re.findall(r"`([\w/*.]+(?:\.py|\.toml|/))`", row)
        package = "/".join(names[0].split("/")[:2]) if names[0].startswith("edgeopt/") else ""
        for name in names:
            places = (_ROOT / name, _ROOT / "edgeopt" / name, _ROOT / package / name)
            assert any(list(place.parent.glob(place.name)) if "*" in name else place.exists() for place in places), (row, name)
