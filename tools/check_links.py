"""Fail where a link of the documentation leads nowhere; no network is needed.

Checked are, in the README, CONTRIBUTING, CHANGELOG, docs/ and benchmarks/: links and images to files, and to headings of a
page. Pages of the site (docs/) may only link to pages of the site. In all tracked text files: that a page named by its path,
such as docs/glossary.md, exists. In mkdocs.yml: that the navigation lists every page.
"""

from __future__ import annotations

import re
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
_MENTION = re.compile(r"(?<![\w/.-])((?:docs|benchmarks)/[\w/.-]+\.md)\b")
_CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]*`", re.DOTALL | re.MULTILINE)
_TEXT = {".md", ".py", ".toml", ".yml", ".html", ".sh"}
_FIRST_PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")


def main() -> int:
    """Print every link that leads nowhere; return 1 if there is one."""
    pages = [_ROOT / name for name in _FIRST_PAGES]
    pages += [path for folder in ("docs", "benchmarks") for path in sorted((_ROOT / folder).rglob("*.md"))]
    found = [*(line for page in pages for line in dead_links(page, _ROOT)), *dead_mentions(), *missing_in_navigation()]
    for line in found:
        print(line)
    return min(1, len(found))


def dead_links(page: Path, root: Path) -> Iterator[str]:
    """Yield a line for each link of `page` to a file or heading that does not exist, or out of the site."""
    text = _CODE.sub("", page.read_text(encoding="utf-8"))
    name = page.relative_to(root)
    site = root / "docs"
    for link in _LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists():
            yield f"{name}: {link} does not exist"
        elif page.is_relative_to(site) and not target.is_relative_to(site):
            yield f"{name}: {link} leads out of docs/, which the site cannot show; name the file instead"
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            yield f"{name}: {link}: that page has no heading #{anchor}"


def anchors(page: Path) -> set[str]:
    """Return the names by which the headings of `page` are linked to."""
    text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return {slug(heading) for heading in re.findall(r"^#+ +(.*?)\s*$", text, flags=re.MULTILINE)}


def slug(heading: str) -> str:
    """Return a heading's anchor, as mkdocs makes it and, for headings of words alone, as code hosts do."""
    plain = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def dead_mentions() -> Iterator[str]:
    """Yield a line for each page that a tracked file names by a path that does not exist."""
    listed = subprocess.run(["git", "ls-files"], cwd=_ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in listed:
        path = _ROOT / name
        if path.suffix not in _TEXT or not path.is_file() or path == Path(__file__).resolve():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for page in _MENTION.findall(line):
                if not (_ROOT / page).is_file():
                    yield f"{name}:{number}: {page} does not exist"


def missing_in_navigation() -> Iterator[str]:
    """Yield a line for each page of docs/ that the site's navigation does not list."""
    listed = set(re.findall(r"[\w/-]+\.md", (_ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    for page in sorted((_ROOT / "docs").rglob("*.md")):
        name = page.relative_to(_ROOT / "docs").as_posix()
        if name not in listed:
            yield f"mkdocs.yml: the navigation does not list {name}"


if __name__ == "__main__":
    sys.exit(main())
