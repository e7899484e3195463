"""Do two answers agree? Other kernels round differently, and other decoders of JPEG give pixels that differ by one or two.

The same rules are in the JavaScript and C++ templates: a class may change only where its score is close to that of the recorded
one; spans and texts are equal; boxes are matched; vectors point the same way.
"""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, Optional

SCORE = 0.05
"""Largest difference between two scores of 0…1."""
OVERLAP = 0.8
"""Least intersection over union of two boxes that are the same."""
COSINE = 0.98
"""Least cosine of two vectors that are the same."""


def disagreement(got: Mapping[str, Any], want: Mapping[str, Any]) -> Optional[str]:
    """Return how the answer `got` differs from the recorded one, in one line; None if they agree."""
    if got.get("kind") != want["kind"]:
        return f"the answer is of kind {got.get('kind')}, recorded is {want['kind']}"
    check = _CHECKS[want["kind"]]
    result: Optional[str] = check(got, want)
    return result


def _near(value: float, recorded: float, most: float) -> bool:
    """Return whether two numbers differ by at most `most`; NaN is near nothing."""
    return abs(value - recorded) <= most


def _classes(got: Mapping[str, Any], want: Mapping[str, Any]) -> Optional[str]:
    recorded = {entry["label"]: entry["score"] for entry in want["classes"]}
    first, other = want["classes"][0], got["classes"][0]
    if first["label"] != other["label"] and first["score"] - recorded.get(other["label"], 0.0) > SCORE * max(
        1.0, abs(first["score"])
    ):
        return f"best is {other['label']}, recorded is {first['label']}"
    for entry in got["classes"]:
        score = recorded.get(entry["label"])
        if score is not None and not _near(entry["score"], score, SCORE * max(1.0, abs(score))):
            return f"{entry['label']} has score {entry['score']:.4f}, recorded is {score:.4f}"
    return None


def _labels(got: Mapping[str, Any], want: Mapping[str, Any]) -> Optional[str]:
    have, should = ({entry["label"]: entry["score"] for entry in side["classes"]} for side in (got, want))
    for label in sorted(set(have) ^ set(should)):
        lowest = min([*have.values(), *should.values()])
        if have.get(label, should.get(label, 0.0)) - lowest > SCORE:
            return f"{label} is {'extra' if label in have else 'missing'}"
    wrong = [label for label in have if label in should and not _near(have[label], should[label], SCORE)]
    return f"{wrong[0]} has score {have[wrong[0]]:.4f}, recorded is {should[wrong[0]]:.4f}" if wrong else None


def _spans(got: Mapping[str, Any], want: Mapping[str, Any]) -> Optional[str]:
    have, should = ([(span["start"], span["end"], span["label"]) for span in side["spans"]] for side in (got, want))
    return None if have == should else f"spans are {have}, recorded are {should}"


def _text(got: Mapping[str, Any], want: Mapping[str, Any]) -> Optional[str]:
    return None if got["text"] == want["text"] else f"text is {got['text'][:80]!r}, recorded is {want['text'][:80]!r}"


def _boxes(got: Mapping[str, Any], want: Mapping[str, Any]) -> Optional[str]:
    if list(got["size"]) != list(want["size"]):
        return f"the image is {got['size']}, recorded is {want['size']}"
    left = list(got["boxes"])
    lowest = min([entry["score"] for entry in [*want["boxes"], *got["boxes"]]], default=0.0)
    for box in want["boxes"]:
        match = _match(box, left)
        if match is None:
            if box["score"] - lowest > SCORE:
                return f"no {box['label']} at {[round(value) for value in box['box']]}, recorded with score {box['score']:.3f}"
            continue
        left.remove(match)
        if not _near(match["score"], box["score"], SCORE):
            return f"{box['label']} has score {match['score']:.3f}, recorded is {box['score']:.3f}"
    extra = [box for box in left if box["score"] - lowest > SCORE]
    return f"extra {extra[0]['label']} at {[round(value) for value in extra[0]['box']]}" if extra else None


def _match(box: Mapping[str, Any], others: List[Any]) -> Optional[Dict[str, Any]]:
    same = [other for other in others if other["label"] == box["label"]]
    best = max(same, key=lambda other: overlap(box["box"], other["box"]), default=None)
    return best if best is not None and overlap(box["box"], best["box"]) >= OVERLAP else None


def overlap(a: Any, b: Any) -> float:
    """Return intersection over union of two boxes."""
    inner = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner
    return inner / union if union > 0 else 1.0


def _segmentation(got: Mapping[str, Any], want: Mapping[str, Any]) -> Optional[str]:
    if list(got["size"]) != list(want["size"]):
        return f"the image is {got['size']}, recorded is {want['size']}"
    total = max(1, want["size"][0] * want["size"][1])
    have, should = _unrolled(got["mask"]), _unrolled(want["mask"])
    different = sum(1 for one, other in zip(have, should) if one != other)
    return f"{different} of {total} pixels have another class" if different > 0.02 * total else None


def _unrolled(runs: Any) -> List[int]:
    return [value for value, count in runs for _ in range(count)]


def _embedding(got: Mapping[str, Any], want: Mapping[str, Any]) -> Optional[str]:
    a, b = got["vector"], want["vector"]
    if len(a) != len(b):
        return f"{len(a)} numbers, recorded are {len(b)}"
    lengths = math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
    cosine = sum(x * y for x, y in zip(a, b)) / lengths if lengths else float(a == b)
    return None if cosine >= COSINE else f"the cosine to the recorded vector is {cosine:.4f}"


def _value(got: Mapping[str, Any], want: Mapping[str, Any]) -> Optional[str]:
    for name, value in want["values"].items():
        problem = _numbers(_flat(got["values"].get(name)), _flat(value))
        if problem:
            return f"{name}: {problem}"
    return None


def _arrays(got: Mapping[str, Any], want: Mapping[str, Any]) -> Optional[str]:
    for name, array in want["arrays"].items():
        other = got["arrays"].get(name, {"shape": None, "values": []})
        if other["shape"] != array["shape"]:
            return f"{name} has shape {other['shape']}, recorded is {array['shape']}"
        problem = _numbers(other["values"][:: array.get("step", 1)], array["values"])
        if problem:
            return f"{name}: {problem}"
    return None


def _flat(value: Any) -> List[Any]:
    return [number for part in value for number in _flat(part)] if isinstance(value, list) else [value]


def _numbers(got: List[Any], want: List[Any]) -> Optional[str]:
    """Compare numbers by 2 % of the largest; texts must be equal."""
    if len(got) != len(want):
        return f"{len(got)} values, recorded are {len(want)}"
    numbers = [value for value in want if isinstance(value, (int, float)) and math.isfinite(value)]
    allowed = 0.02 * max([abs(value) for value in numbers], default=0.0) + 1e-6
    for one, other in zip(got, want):
        same = one == other or (isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other))
        if not same and not (isinstance(one, (int, float)) and isinstance(other, (int, float)) and abs(one - other) <= allowed):
            return f"{one} where {other} is recorded"
    return None


_CHECKS = {
    "classes": _classes,
    "labels": _labels,
    "spans": _spans,
    "answer": _text,
    "boxes": _boxes,
    "segmentation": _segmentation,
    "text": _text,
    "embedding": _embedding,
    "value": _value,
    "arrays": _arrays,
}
