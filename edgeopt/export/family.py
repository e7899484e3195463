"""Model families: the public API of the modules in ``exporters/``.

A family is data: its models, their tasks, and for each task the inputs (with named axes), the outputs
and, where the model's own forward is not suitable, a module around the model. A third party adds one with a module that has a
`FAMILY`, listed under the entry-point group ``edgeopt.exporters``:

    FAMILY = Family(
        name="bert",
        model_types=("bert",),
        tasks=text_encoder(("input_ids", "attention_mask", "token_type_ids")),
        tiny={"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 2, …},
    )

Nothing here imports torch or transformers; a family's functions import them when they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from edgeopt.batches import Array, Batch
from edgeopt.errors import ModelError, nearest
from edgeopt.export.axes import Axes

Config = Any
"""A transformers configuration."""

Module = Any
"""A torch.nn.Module, not imported here."""

SIZES: Mapping[str, tuple[int, int, int]] = {
    "batch": (2, 1, 3),
    "sequence": (7, 5, 12),
    "past_sequence": (4, 3, 6),
    "source": (8, 11, 6),
    "samples": (3200, 2800, 4000),
    "frames": (48, 64, 32),
    "texts": (2, 1, 3),
    "images": (2, 3, 1),
}
"""Three sizes of each named axis: the example's and two others."""

_STEPS: Mapping[str, tuple[int, int, int, int]] = {"height": (0, 32, 96, 64), "width": (32, 0, 64, 96)}
"""Added to the configured size of an axis that was made dynamic, for each of four samples."""


@dataclass(frozen=True)
class Resizable:
    """An axis of the configured size, or, if it is made dynamic, one called `name`."""

    name: str
    size: int


@dataclass(frozen=True)
class Input:
    """One input: its shape, where a name is a dynamic axis (or a sum of two), and its kind of random values."""

    shape: tuple[int | str | Resizable, ...]
    kind: Literal["tokens", "mask", "zeros", "normal", "positions"] = "normal"

    def axes(self) -> dict[int, str]:
        """Return the dynamic axes by their position."""
        return {axis: size for axis, size in enumerate(self.shape) if isinstance(size, str)}

    def freed(self, names: Collection[str]) -> Input:
        """Return this input with the resizable axes in `names` dynamic and the others fixed."""
        kept = (
            size if not isinstance(size, Resizable) else size.name if size.name in names else size.size for size in self.shape
        )
        return replace(self, shape=tuple(kept))

    def resizable(self) -> dict[str, int]:
        """Return the axes that can be made dynamic, with their configured sizes."""
        return {size.name: size.size for size in self.shape if isinstance(size, Resizable)}

    def draw(self, sizes: Mapping[str, int], *, vocabulary: int, rng: np.random.Generator) -> Array:
        """Return a random value for the given axis sizes; a mask hides the end of its last row."""
        shape = [_size(size, sizes) for size in self.shape]
        match self.kind:
            case "tokens":
                return rng.integers(min(5, vocabulary - 1), vocabulary, shape)
            case "mask":
                mask = np.ones(shape, dtype=np.int64)
                mask[-1, max(1, shape[1] - 2) :] = 0 if shape[0] > 1 else 1
                return mask
            case "positions":
                start = sizes.get("past_sequence", 0)
                return np.broadcast_to(np.arange(start, start + shape[-1], dtype=np.int64), shape).copy()
            case "zeros":
                return np.zeros(shape, dtype=np.int64)
            case "normal":
                return rng.normal(size=shape).astype(np.float32)


def _size(size: int | str | Resizable, sizes: Mapping[str, int]) -> int:
    if isinstance(size, Resizable):
        return size.size
    if isinstance(size, int):
        return size
    return sum(sizes[name.strip()] for name in size.split("+"))


def unwrapped(model: Module) -> Module:
    """Return `model`: its own forward is suitable."""
    return model


@dataclass(frozen=True)
class Task:
    """One task of a family.

    Attributes:
        heads: endings of the transformers classes that have this task's head.
        auto: transformers' Auto class that loads such a model.
        inputs: from a configuration to the inputs by name.
        outputs: outputs of forward to keep, in this order; None: from the configuration.
        wrap: puts a module around the model where its own forward is not suitable.
    """

    heads: tuple[str, ...]
    auto: str
    inputs: Callable[[Config], Mapping[str, Input]]
    outputs: tuple[str, ...]
    wrap: Callable[[Module], Module] = unwrapped

    def axes(self, config: Config, dynamic: Collection[str] = ()) -> Axes:
        """Return the dynamic axes of the task's inputs, the resizable ones in `dynamic` among them."""
        return {name: value.freed(dynamic).axes() for name, value in self.inputs(config).items()}

    def resizable(self, config: Config) -> dict[str, int]:
        """Return the axes that can be made dynamic, with their configured sizes."""
        return {name: size for value in self.inputs(config).values() for name, size in value.resizable().items()}


@dataclass(frozen=True)
class Family:
    """A model family.

    Attributes:
        name: the module's name.
        model_types: transformers' `config.model_type` of its models.
        tasks: by the hub's name of the task.
        tiny: configuration of a random model of a few thousand parameters, for the tests.
        note: known limitation with its reason; shown in the table of families.
    """

    name: str
    model_types: tuple[str, ...]
    tasks: Mapping[str, Task]
    tiny: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    def task_of(self, class_name: str, wanted: str | None) -> str:
        """Return the task of a model of the class `class_name`: the `wanted` one, or the first whose head it has.

        Raises:
            ModelError: the family has no such task, or the model lacks its head.
        """
        if (
            wanted is not None and wanted not in self.tasks
        ):  # "feature-extraction" of a vision model: "image-feature-extraction"
            kinds = [task for task in self.tasks if task.endswith(f"-{wanted}")]
            wanted = kinds[0] if len(kinds) == 1 else wanted
        if wanted is not None and wanted not in self.tasks:
            raise ModelError(
                f"family '{self.name}' has no task '{wanted}'{nearest(wanted, self.tasks)}; it has: {', '.join(self.tasks)}"
            )
        fitting = [task for task, facts in self.tasks.items() if class_name.endswith(facts.heads)]
        if wanted is None and fitting:
            return fitting[0]
        if wanted is not None and wanted in fitting:
            return wanted
        heads = (
            self.tasks[wanted].heads if wanted is not None else tuple(h for facts in self.tasks.values() for h in facts.heads)
        )
        raise ModelError(
            f"{class_name} has no head for {wanted or 'any task of family ' + repr(self.name)}; "
            f"load the checkpoint as a class that ends in {' or '.join(dict.fromkeys(heads))}"
        )


def random_samples(task: Task, config: Config, *, seed: int = 0, dynamic: Collection[str] = ()) -> list[Batch]:
    """Return random batches of different shapes for a model with this `config`, the same for the same `seed`.

    There are three, and four where resizable axes are `dynamic`.
    """
    rng = np.random.default_rng(seed)
    text = getattr(config, "text_config", None) or config
    vocabulary = int(getattr(text, "vocab_size", None) or 2)
    samples: list[Batch] = []
    resizable = task.resizable(config)
    for index in range(4 if dynamic else 3):
        sizes = {name: values[index % 3] for name, values in SIZES.items()}
        sizes |= {name: resizable[name] + _STEPS[name][index] for name in dynamic if name in resizable}
        inputs = {name: value.freed(dynamic) for name, value in task.inputs(config).items()}
        samples.append({name: value.draw(sizes, vocabulary=vocabulary, rng=rng) for name, value in inputs.items()})
    return samples
