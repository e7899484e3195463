"""The chain from the teacher and the data to the model's file: each link holds the hash of everything before it.

A link is the SHA-256 of the link before, the role, the name and the SHA-256 of its artifact, so that none can be changed, left
out or put in between without changing the last. The last one is the bundle's model file.
"""

from __future__ import annotations

import hashlib
from typing import Any, Dict, List, Mapping, Optional, Sequence

FILE = "file"
"""Role of the last link."""


def link(before: str, entry: Mapping[str, Any]) -> str:
    """Return the hash of a link; `before` is that of the one before, empty for the first."""
    text = "\n".join([before, *(str(entry.get(key, "")) for key in ("role", "name", "sha256"))])
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def chained(entries: Sequence[Mapping[str, Any]]) -> List[Dict[str, Any]]:
    """Return entries, the earliest first, each with its ``link``."""
    found: List[Dict[str, Any]] = []
    for entry in entries:
        found.append({**entry, "link": link(found[-1]["link"] if found else "", entry)})
    return found


def problem(origins: Any, files: Mapping[str, str]) -> Optional[str]:
    """Return what is wrong with a bundle's origins, or None; `files` has the SHA-256 of each of its files."""
    if not isinstance(origins, list) or not all(isinstance(entry, dict) for entry in origins):
        return "the origins are no list of objects"
    if not any("link" in entry for entry in origins):
        return None  # a bundle of an earlier edgeopt
    before = ""
    for place, entry in enumerate(origins):
        if entry.get("link") != link(before, entry):
            return f"link {place} ({entry.get('role')} '{entry.get('name')}') is not the hash of what it links"
        before = entry["link"]
    last = origins[-1]
    if last.get("role") != FILE or files.get(str(last.get("name"))) != last.get("sha256"):
        return "the chain does not end in the model's file"
    return None
