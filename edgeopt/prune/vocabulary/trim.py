"""Trim a model's vocabulary to what the training samples use.

samples ─▶ used ids ─▶ kept ids ─┬▶ tokenizer rewritten ─▶ texts split again, compared token by token
                                 └▶ model's rows cut ────▶ outputs compared with the whole model's, to 1e-5
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from torch import nn

from edgeopt.batches import Array
from edgeopt.data.samples import Sample, Samples
from edgeopt.documents import read_json
from edgeopt.errors import DataError, InternalError, ModelError, RecipeError
from edgeopt.files import write_aside, write_json
from edgeopt.lifetime import temporary_folder
from edgeopt.models.save import copy_tokenizer
from edgeopt.prune.surgery import compare, outputs_of
from edgeopt.prune.vocabulary.rows import keep_rows, renumber, special_ids, vocabulary_size
from edgeopt.prune.vocabulary.tokenizer import kept_ids, rewritten

_IDS = ("input_ids", "decoder_input_ids")
_TOKENIZER, _CONFIG, _LIST = "tokenizer.json", "tokenizer_config.json", "vocab.txt"
_GENERATION = "generation_config.json"

Reread = Callable[[Path], Samples]
"""Returns the training samples as the tokenizer in a folder splits them."""


@dataclass(frozen=True)
class Vocabulary:
    """A smaller vocabulary.

    Attributes:
        kept: ids of the tokens that stay, in order; a token's new id is its place.
        whole: how many tokens the model knew.
        tokenizer: the rewritten tokenizer.json.
    """

    kept: tuple[int, ...]
    whole: int
    tokenizer: Mapping[str, Any]

    def samples(self, samples: Samples) -> Samples:
        """Return the samples with the new ids."""
        table = np.full(self.whole, -1, dtype=np.int64)
        table[list(self.kept)] = np.arange(len(self.kept))

        def read(index: int) -> Sample:
            return {name: _mapped(array, table) if name in _IDS else array for name, array in samples.read(index).items()}

        pad = {name: float(table[int(value)]) if name in _IDS else value for name, value in samples.pad.items()}
        return replace(samples, read=read, pad=pad, digest=f"{samples.digest} {len(self.kept)}")

    def write(self, source: Path, folder: Path) -> None:
        """Write the tokenizer's files that are in `source` into `folder`, with the new ids."""
        copy_tokenizer(source, folder)
        write_json(folder / _TOKENIZER, dict(self.tokenizer))
        new = {str(old): str(place) for place, old in enumerate(self.kept)}
        if (source / _CONFIG).is_file():
            config = _object(source / _CONFIG)
            added = config.get("added_tokens_decoder")
            if isinstance(added, dict):
                config["added_tokens_decoder"] = {new[old]: value for old, value in added.items() if old in new}
            write_json(folder / _CONFIG, config)
        if (source / _GENERATION).is_file():
            values = SimpleNamespace(**_object(source / _GENERATION))
            renumber(values, self.kept)
            write_json(folder / _GENERATION, vars(values))
        if (source / _LIST).is_file():
            tokens = sorted(self.tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
            with write_aside(folder / _LIST) as aside:
                aside.write_text("".join(f"{token}\n" for token, _ in tokens), encoding="utf-8")


def vocabulary_of(model: nn.Module, folder: Path | None, samples: Samples, reread: Reread | None) -> Vocabulary:
    """Return the vocabulary that `samples` use, checked token by token.

    Args:
        model: a transformers model.
        folder: has its tokenizer.json.
        samples: all training samples, as token ids.
        reread: reads the same texts through another tokenizer.

    Raises:
        RecipeError: there is no tokenizer, the model has no vocabulary, or the samples are no texts.
        InternalError: the new tokenizer splits a text in another way.
    """
    whole = vocabulary_size(model)
    if folder is None or not (folder / _TOKENIZER).is_file():
        raise RecipeError(f"prune.vocabulary rewrites the model's {_TOKENIZER}, and {folder or 'the model'} has none")
    if reread is None:
        raise RecipeError("prune.vocabulary is for `edgeopt prune` with texts: the stages of a recipe read the data but once")
    document = _object(folder / _TOKENIZER)
    used = _used(samples)
    named = special_ids(model.config)
    kept = [one for one in kept_ids(document, used | {one for one in named if 0 <= one < whole}) if one < whole]
    found = Vocabulary(tuple(kept), whole, rewritten(document, kept))
    with temporary_folder("edgeopt-tokenizer-") as place:
        found.write(folder, Path(place))
        _check_tokens(samples, found.samples(samples), reread(Path(place)))
    return found


def trim(model: nn.Module, found: Vocabulary, samples: Samples, *, whole: Any = None) -> None:
    """Remove the rows of all other tokens from `model`, in place; `samples` still have the old ids.

    Raises:
        ModelError: the model knows another number of tokens, or its class does not follow its configuration.
        InternalError: its outputs changed.
    """
    if vocabulary_size(model) != found.whole:
        raise ModelError(f"{type(model).__name__} knows {vocabulary_size(model)} tokens, the pruned model {found.whole}")
    indices = range(min(4, len(samples)))
    before = outputs_of(model, samples.collate(indices))
    keep_rows(model, found.kept, whole=whole)
    after = outputs_of(model, found.samples(samples).collate(indices))
    kept = list(found.kept)
    compare([one[..., kept] if one.shape[-1:] == (found.whole,) else one for one in before], after, type(model).__name__)


def _used(samples: Samples) -> set[int]:
    used: set[int] = set()
    for index in range(len(samples)):
        sample = samples[index]
        names = [name for name in _IDS if name in sample]
        if not names:
            raise RecipeError(f"prune.vocabulary needs texts: the samples have {', '.join(sample)}, no token ids")
        for name in names:
            used |= {int(one) for one in np.unique(sample[name]) if one >= 0}
    return used


def _mapped(array: Array, table: Array) -> Array:
    return np.where(array >= 0, table[np.maximum(array, 0)], array).astype(array.dtype)


def _check_tokens(old: Samples, wanted: Samples, found: Samples) -> None:
    if len(found) != len(wanted):
        raise InternalError(f"the rewritten tokenizer reads {len(found)} samples, {len(wanted)} were expected")
    for index in range(len(wanted)):
        expected, read = wanted[index], found[index]
        for name in _IDS:
            if name not in expected or np.array_equal(expected[name], read[name]):
                continue
            if np.array_equal(old[index][name], read[name]):
                raise DataError("prune.vocabulary needs texts: the samples are token ids, which no tokenizer reads again")
            raise InternalError(
                f"the rewritten tokenizer splits sample {index} in another way: {read[name]}, not {expected[name]}"
            )


def _object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file of the model's folder."""
    values = read_json(path, error=ModelError, what="a file of the tokenizer")
    if not isinstance(values, dict):
        raise ModelError(f"{path}: not a JSON object; copy it from the model again")
    return values
