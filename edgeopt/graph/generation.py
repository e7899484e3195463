"""What a decode loop has to know of a decoder: ``generation.json`` beside the model, written by `export` and `quantize`.

Two forms of graph generate text (docs/concepts/export.md):

- portable: a cache that grows, [batch, heads, past, size] in and [batch, heads, past + new, size] out; positions and padding by
  inputs.
- decoder-cpu: past and present may be one buffer of fixed length; the mask's row sums say how long each text is, padding stands
  on the right, and logits are computed at the asked positions alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import onnx_ir as ir
from pydantic import Field

from edgeopt.config import Options
from edgeopt.errors import ModelError, RecipeError
from edgeopt.files import write_aside

FILE = "generation.json"
ASKED = "logits_positions"
"""The input that says which positions get logits; an initializer that may be overridden, [-1] where it is left out."""
_Pattern = Annotated[str, Field(pattern="^[^%]*%d[^%]*$")]
_PAST_KEY, _PAST_VALUE = "past_key_values.%d.key", "past_key_values.%d.value"


class Inputs(Options):
    """Names of the graph's inputs; `past_key` and `past_value` have the layer's number in the place of ``%d``."""

    tokens: str = "input_ids"
    """Token ids."""
    mask: str = "attention_mask"
    """1 for a token, 0 for padding."""
    positions: str | None = None
    """Position of each token; none: the graph counts them."""
    asked: str | None = None
    """Positions that get logits; none: all get them."""
    past_key: _Pattern = _PAST_KEY
    """Keys of a layer's cache."""
    past_value: _Pattern = _PAST_VALUE
    """Values of a layer's cache."""


class Outputs(Options):
    """Names of the graph's outputs; `present_key` and `present_value` like `Inputs.past_key`."""

    logits: str = "logits"
    """Logits over the vocabulary."""
    present_key: _Pattern = "present.%d.key"
    """Keys of a layer's lengthened cache."""
    present_value: _Pattern = "present.%d.value"
    """Values of a layer's lengthened cache."""


class Generation(Options):
    """The shape of a decoder, its names and its special tokens."""

    version: Literal[1] = 1
    """Version of this file's form."""
    form: Literal["portable", "decoder-cpu"]
    """Form of the graph."""
    model: str = "model.onnx"
    """File of the graph, beside this one."""
    layers: int = Field(ge=1)
    """Number of layers with a cache."""
    heads: int = Field(ge=1)
    """Attention heads of a layer."""
    kv_heads: int = Field(ge=0)
    """Heads of the cache."""
    head_size: int = Field(ge=0)
    """Width of a head."""
    hidden: int = Field(default=0, ge=0)
    """Width of the hidden states; 0: unknown."""
    vocabulary: int = Field(ge=1)
    """Number of tokens that have logits."""
    context: int = Field(ge=1)
    """Most positions, prompt and answer together."""
    cache_type: Literal["float32", "float16"] = "float32"
    """Type of the cache."""
    shared_cache: bool = False
    """Past and present may be the same buffer."""
    window: int = Field(default=0, ge=0)
    """Largest sliding window of attention, 0: none."""
    eos: list[int] = Field(default_factory=list)
    """Tokens that end a text."""
    bos: int | None = None
    """Token that begins a text."""
    pad: int | None = None
    """Token that fills shorter texts of a batch."""
    suppress: list[int] = Field(default_factory=list)
    """Tokens that are never generated."""
    inputs: Inputs = Inputs()
    outputs: Outputs = Outputs()

    @classmethod
    def beside(cls, model: Path) -> Generation:
        """Read the file beside a model (or in a folder).

        Raises:
            ModelError: there is none, or it is not of this form.
        """
        path = model / FILE if model.is_dir() else model.parent / FILE
        if not path.is_file():
            raise ModelError(f"{path}: missing; export or quantize the decoder with this version, which writes it")
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{path}: not JSON; export or quantize the decoder again") from error
        try:
            return cls.read(values, where=str(path))
        except RecipeError as error:
            raise ModelError(f"{error}; export or quantize the decoder again") from error

    def write(self, folder: Path) -> Path:
        """Write ``generation.json`` into `folder` and return its path."""
        path = folder / FILE
        with write_aside(path) as aside:
            aside.write_text(json.dumps(self.model_dump(), indent=1) + "\n", encoding="utf-8")
        return path


def decoder_layers(graph: ir.Graph) -> int:
    """Return how many layers' caches the graph takes, 0 if it is no decoder of this kind."""
    names = {value.name for value in graph.inputs}
    count = 0
    while _PAST_KEY % count in names and _PAST_VALUE % count in names:
        count += 1
    return count if "input_ids" in names else 0
