"""The anatomy of a transformer: its parts and its stacks of layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from torch import nn

from edgeopt.errors import ModelError, RecipeError, nearest
from edgeopt.prune.structure.heads import heads, is_linear
from edgeopt.prune.structure.names import Rule
from edgeopt.prune.structure.neurons import by_rules, neurons
from edgeopt.prune.structure.parts import Kind, Part, merged


@dataclass(frozen=True)
class Anatomy:
    """What can be removed from a transformer.

    Attributes:
        parts: attentions and feed-forward networks, in order.
        stacks: how many layers each stack has, by its name.
        unknown: linear layers inside of the stacks that belong to no part, so that they stay whole.
    """

    parts: tuple[Part, ...]
    stacks: Mapping[str, int]
    unknown: tuple[str, ...] = ()

    def part(self, name: str) -> Part:
        """Return the part called `name`."""
        return next(part for part in self.parts if part.name == name)


def anatomy_of(model: nn.Module, *, rules: Sequence[Rule] = (), ignore: Sequence[str] = ()) -> Anatomy:
    """Return the anatomy of `model`.

    Args:
        model: a transformer.
        rules: of modules whose names are not known.
        ignore: names, or patterns such as ``*.layer.0.*``, of layers that stay whole.

    Raises:
        RecipeError: a rule or a pattern matches nothing.
        ModelError: the model has no attention and no feed-forward network that is known.
    """
    stacks = stacks_of(model)
    own = by_rules(model, list(rules))
    for rule in rules:
        if not any(cut.layer.endswith(rule.reader) for part in own for cut in part.readers):
            raise RecipeError(f"prune.rules: no module has the linear layers {rule.writers} and '{rule.reader}' below it")
    taken = {layer for part in own for layer in part.layers()}
    known = [part for part in (*heads(model), *neurons(model)) if not taken & set(part.layers())]
    order = {name: place for place, (name, _) in enumerate(model.named_modules())}
    found = sorted([*own, *known], key=lambda part: (order[part.readers[0].layer], part.name))
    if not found:
        raise ModelError(_nothing(model, stacks))
    parts = [_placed(part, stacks) for part in _sharing(model, found)]
    kept = ignored(model, ignore)
    covered = {layer for part in parts for layer in part.layers()}
    unknown = tuple(
        name
        for name, layer in model.named_modules()
        if is_linear(layer) and name not in covered and any(name.startswith(f"{stack}.") for stack in stacks)
    )
    return Anatomy(tuple(part for part in parts if not kept & {part.name, *part.layers()}), stacks, unknown)


def ignored(model: nn.Module, patterns: Iterable[str]) -> set[str]:
    """Return the names of the layers that `patterns` name, and of all below them.

    Raises:
        RecipeError: a pattern matches no layer.
    """
    names = [name for name, _ in model.named_modules() if name]
    found: set[str] = set()
    for pattern in patterns:
        hits = [name for name in names if fnmatchcase(name, pattern)]
        if not hits:
            raise RecipeError(f"prune.ignore names '{pattern}', which the model does not have{nearest(pattern, names)}")
        found |= {name for name in names for hit in hits if name == hit or name.startswith(f"{hit}.")}
    return found


def stacks_of(model: nn.Module) -> dict[str, int]:
    """Return the outermost lists of layers of one class."""
    found: dict[str, int] = {}
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer in found)
        if isinstance(module, nn.ModuleList) and len(module) and not inside and len({type(layer) for layer in module}) == 1:
            found[name] = len(module)
    return found


def _placed(part: Part, stacks: Mapping[str, int]) -> Part:
    """Return the part with its place in a stack, if all of it lies in one layer."""
    places = {
        (stack, layer[len(stack) + 1 :].split(".")[0])
        for layer in part.layers()
        for stack in stacks
        if layer.startswith(f"{stack}.")
    }
    if len(places) != 1 or not all(any(layer.startswith(f"{stack}.") for stack in stacks) for layer in part.layers()):
        return part
    stack, place = places.pop()
    return replace(part, stack=stack, place=int(place))


def _sharing(model: nn.Module, found: Sequence[Part]) -> list[Part]:
    """Return the parts, those that share a weight as one: what goes from one must go from the other."""
    layers, parameters = dict(model.named_modules()), dict(model.named_parameters(remove_duplicate=False))

    def weights(part: Part) -> set[int]:
        owners = [layers[name].parameters(recurse=False) for name in part.layers() if name in layers]
        return {id(value) for own in owners for value in own} | {
            id(parameters[name]) for name in part.layers() if name in parameters
        }

    groups: list[list[Part]] = []
    for part in found:
        hits = [group for group in groups if weights(part) & set().union(*map(weights, group))]
        rest = [group for group in groups if group not in hits]
        groups = [*rest, [*(other for group in hits for other in group), part]]
    return [merged(group) if len(group) > 1 else group[0] for group in groups]


def _nothing(model: nn.Module, stacks: Mapping[str, int]) -> str:
    first = next((f"{stack}.0 ({type(model.get_submodule(f'{stack}.0')).__name__})" for stack in stacks), type(model).__name__)
    return (
        f"{type(model).__name__}: no attention and no feed-forward network whose layers have known names, first in {first}; "
        'name them: --set \'rules=[{writers=["up"], reader="down"}]\', with size=64 for heads of 64 channels'
    )


def count(parts: Sequence[Part], kind: Kind) -> int:
    """Return the number of units of one kind."""
    return sum(part.units for part in parts if part.kind is kind)
