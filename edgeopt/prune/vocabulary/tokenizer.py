"""A tokenizer.json with fewer tokens, which splits the texts of the data as before.

Why the same texts give the same tokens, by the kind of model:

    WordPiece, WordLevel   the longest token that fits is taken; all that were taken are still there, and what was longer than
                           them and unused never fitted
    BPE                    of all pairs that are there the merge with the smallest rank is applied; every merge that was ever
                           applied makes a used token or a piece of one, and those are kept with all their merges, in order
    Unigram                the segmentation with the largest sum of scores is taken; it is still there, and no other was added

Single characters, bytes and special tokens stay, so that other texts can still be split, into smaller pieces. Of Unigram the
piece with the smallest score stays as well: unknown characters cost 10 less than it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgeopt.errors import RecipeError

_BYTE = re.compile(r"<0x[0-9A-Fa-f]{2}>")
Document = Mapping[str, Any]


def kept_ids(document: Document, used: Iterable[int]) -> list[int]:
    """Return the ids that stay, in order, of the tokenizer in `document`, the content of a tokenizer.json.

    Args:
        document: the tokenizer.
        used: ids that the data use.

    Raises:
        RecipeError: its kind of model is not known.
    """
    model = document["model"]
    kind = _kind(model)
    kept = {int(one) for one in used} | _special(document)
    if kind == "Unigram":
        pieces = model["vocab"]
        kept |= {place for place, (piece, _) in enumerate(pieces) if _is_single(piece, "")}
        kept |= {min(range(len(pieces)), key=lambda place: pieces[place][1])}
        if model.get("unk_id") is not None:
            kept.add(int(model["unk_id"]))
        return sorted(kept)
    ids: Mapping[str, int] = model["vocab"]
    prefix = model.get("continuing_subword_prefix") or ""
    kept |= {place for token, place in ids.items() if _is_single(token, prefix)}
    if isinstance(model.get("unk_token"), str) and model["unk_token"] in ids:
        kept.add(ids[model["unk_token"]])
    return sorted(_with_pieces(model, ids, kept) if kind == "BPE" else kept)


def rewritten(document: Document, kept: Sequence[int]) -> dict[str, Any]:
    """Return the tokenizer with only the tokens `kept`, numbered from 0 in that order.

    Raises:
        RecipeError: it pads or frames texts with another token.
    """
    new = {old: place for place, old in enumerate(kept)}
    result: dict[str, Any] = copy.deepcopy(dict(document))
    model = result["model"]
    if _kind(model) == "Unigram":
        model["vocab"] = [piece for place, piece in enumerate(model["vocab"]) if place in new]
        if model.get("unk_id") is not None:
            model["unk_id"] = new[model["unk_id"]]
    else:
        ordered = sorted(model["vocab"].items(), key=lambda item: item[1])
        model["vocab"] = {token: new[place] for token, place in ordered if place in new}
    if model.get("merges") is not None:
        tokens = model["vocab"]
        prefix = model.get("continuing_subword_prefix") or ""
        model["merges"] = [
            merge
            for merge in model["merges"]
            if all(part in tokens for part in (*_pair(merge), _merged(*_pair(merge), prefix)))
        ]
    missing = _given(document) - new.keys()
    if missing:
        raise RecipeError(
            f"prune.vocabulary: the tokenizer adds token {min(missing)} to each text, which the model does not know"
        )
    if result.get("added_tokens"):
        result["added_tokens"] = [{**one, "id": new[one["id"]]} for one in result["added_tokens"] if one["id"] in new]
    if result.get("padding"):
        result["padding"]["pad_id"] = new[result["padding"]["pad_id"]]
    _renumber(result.get("post_processor"), new)
    return result


def _kind(model: Mapping[str, Any]) -> str:
    kind = model.get("type") or ("BPE" if "merges" in model else "Unigram" if isinstance(model["vocab"], list) else "WordPiece")
    if kind not in ("WordPiece", "WordLevel", "BPE", "Unigram"):
        raise RecipeError(f"prune.vocabulary: a tokenizer of the kind '{kind}' cannot be rewritten")
    return str(kind)


def _special(document: Document) -> set[int]:
    """Return the ids that the tokenizer names beside its model."""
    return {int(added["id"]) for added in document.get("added_tokens") or []} | _given(document)


def _given(document: Document) -> set[int]:
    """Return the ids that the tokenizer itself puts beside texts: padding, and what begins and ends them."""
    found: set[int] = set()
    padding = document.get("padding")
    if padding:
        found.add(int(padding["pad_id"]))
    for processor in _processors(document.get("post_processor")):
        for name in ("sep", "cls"):
            if isinstance(processor.get(name), list):
                found.add(int(processor[name][1]))
        found |= {int(one) for token in (processor.get("special_tokens") or {}).values() for one in token["ids"]}
    return found


def _processors(processor: Any) -> Iterable[dict[str, Any]]:
    if isinstance(processor, dict):
        yield processor
        for inner in processor.get("processors") or []:
            yield from _processors(inner)


def _renumber(processor: Any, new: Mapping[int, int]) -> None:
    for one in _processors(processor):
        for name in ("sep", "cls"):
            if isinstance(one.get(name), list):
                one[name][1] = new[one[name][1]]
        for token in (one.get("special_tokens") or {}).values():
            token["ids"] = [new[place] for place in token["ids"]]


def _is_single(token: str, prefix: str) -> bool:
    """Return whether a token is one character, or a byte."""
    plain = token.removeprefix(prefix) if prefix else token
    return len(plain) == 1 or bool(_BYTE.fullmatch(token))


def _with_pieces(model: Mapping[str, Any], ids: Mapping[str, int], kept: set[int]) -> set[int]:
    """Return `kept` with the two halves of every merge that makes a kept token, and theirs."""
    prefix = model.get("continuing_subword_prefix") or ""
    halves: dict[str, list[str]] = {}
    for merge in model["merges"]:
        first, second = _pair(merge)
        halves.setdefault(_merged(first, second, prefix), []).extend((first, second))
    tokens = {place: token for token, place in ids.items()}
    waiting = [tokens[place] for place in kept if place in tokens]
    found = set(kept)
    while waiting:
        for part in halves.get(waiting.pop(), ()):
            if part in ids and ids[part] not in found:
                found.add(ids[part])
                waiting.append(part)
    return found


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return first, second


def _merged(first: str, second: str, prefix: str) -> str:
    return first + (second.removeprefix(prefix) if prefix else second)
