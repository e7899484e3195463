"""Attention over a cache of fixed length: onnxruntime's GroupQueryAttention, with the rotation of query and key inside.

ONNX's Attention returns a longer cache at every step, so every token copies all of it. GroupQueryAttention writes new keys and
values into the buffer it reads, if past and present are one:

    Before: q, k, v = Split(x);  y, present… = Attention(Rotary(q, cos, sin), Rotary(k, cos, sin), v, mask, past…)
    After:  y, present… = GroupQueryAttention(x, past…, seqlens, total, cos_table, sin_table)
            seqlens = Cast(ReduceSum(attention_mask, 1) - 1);  total = Cast(Shape(attention_mask)[1])

Masks and angles are computed, not matched: the graph's own mask at several lengths must be "each position sees those before
it", or the last w of them; and the angles must follow from the position alone. Where the kernel does not rotate (heads that
are no multiple of 16 wide, angles that depend on the text's length) the rotation stays before it.

Padding stands on the right of shorter texts, where a causal mask hides it; a padded row's length is its mask's sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgeopt.batches import Array
from edgeopt.graph.computed import Computation
from edgeopt.graph.editing import add_initializer, fresh_name, import_contrib_operators, take_over
from edgeopt.graph.matching import attribute, int64, integers, is_standard, name_of, produced_by, rank, static_shape
from edgeopt.passes.rewrite import Rewrite

_ROTATED_WIDTH = 16
_FAR = 1 << 16
"""A past beyond every window of attention."""
_PROBES = ((0, 7), (5, 1), (3, 4), (_FAR, 2))
"""Lengths of past and new text at which a mask is looked at."""


class SharedCache(Rewrite):
    """Give every layer the kernel that can share its cache; counts layers. `reason` says why none was changed."""

    def __init__(self, *, context: int) -> None:
        """Take the most positions that rotary tables are made for."""
        super().__init__()
        self.reason = ""
        self.window = 0
        self._context = context

    def rewrite(self, model: ir.Model) -> int:
        """Rewrite all layers or none: half of them would leave a cache of two kinds."""
        graph = model.graph
        nodes = [node for node in graph if is_standard(node, "Attention")]
        layers = [layer for node in nodes if (layer := _layer(node)) is not None]
        if not layers or len(layers) != len(nodes):
            self.reason = "not every Attention takes a cache and flat heads"
            return 0
        windows = {mask: _window(model, mask) for mask in dict.fromkeys(layer.mask for layer in layers)}
        if None in windows.values():
            self.reason = "a mask is more than causal, or a sliding window"
            return 0
        angles = _Angles(model, self._context)
        tables = {layer: angles.tables(layer) for layer in layers}
        lengths = _lengths(graph)
        for layer in layers:
            window = windows[layer.mask] or 0
            self.window = max(self.window, window)
            _replace(graph, layer, lengths, tables[layer], window)
        import_contrib_operators(model)
        return len(layers)


@dataclass(frozen=True, eq=False)
class _Layer:
    """An Attention with its cache, its rotations (None: not rotated) and the sizes of its heads."""

    node: ir.Node
    mask: ir.Value
    rotations: tuple[ir.Node, ir.Node] | None
    heads: int
    kv_heads: int
    size: int


@dataclass(frozen=True)
class _Tables:
    cos: ir.Value
    sin: ir.Value
    interleaved: int


def _layer(node: ir.Node) -> _Layer | None:
    """Return what is known of an Attention on [batch, sequence, heads · size] with a cache that only it reads."""
    if len(node.inputs) < 6 or any(value is None for value in node.inputs[:6]) or len(node.outputs) < 3:
        return None
    query, key, value, mask, past_key, past_value = node.inputs[:6]
    heads, kv_heads = attribute(node, "q_num_heads", 0), attribute(node, "kv_num_heads", 0)
    size = past_key.shape[3] if past_key is not None and past_key.shape is not None else None
    caches = [past_key, past_value]
    if not (heads and kv_heads) or not isinstance(size, int) or any(not item.is_graph_input() for item in caches if item):
        return None
    if any(rank(item) != 3 for item in (query, key, value)) or mask is None:
        return None
    rotations = produced_by(query, "RotaryEmbedding"), produced_by(key, "RotaryEmbedding")
    both = (rotations[0], rotations[1]) if rotations[0] is not None and rotations[1] is not None else None
    return _Layer(node, mask, both, int(heads), int(kv_heads), size)


def _inputs(model: ir.Model, past: int, new: int) -> dict[str, Array]:
    """Return inputs for one text of `past` and `new` tokens."""
    given: dict[str, Array] = {
        "input_ids": np.zeros((1, new), np.int64),
        "attention_mask": np.ones((1, past + new), np.int64),
        "position_ids": np.arange(past, past + new, dtype=np.int64)[None],
    }
    for value in model.graph.inputs:
        if value.name not in given and value.shape is not None and value.dtype is not None:
            sizes = [size if isinstance(size, int) else 1 for size in value.shape]
            given[name_of(value)] = np.zeros([*sizes[:2], past, *sizes[3:]], value.dtype.numpy())
    return given


def _window(model: ir.Model, mask: ir.Value) -> int | None:
    """Return the sliding window of a mask, 0 for a causal one without, None for any other."""
    part = Computation(model, [mask])
    seen = [_visible(part(_inputs(model, past, new))[0]) for past, new in _PROBES]
    if any(pattern is None for pattern in seen):
        return None
    last = seen[-1]
    width = int(last[0, 0, -1].sum()) if last is not None else 0
    window = 0 if width == _FAR + 2 else width
    for pattern, (past, new) in zip(seen, _PROBES, strict=True):
        if pattern is None or not np.array_equal(np.broadcast_to(_causal(past, new, window), pattern.shape), pattern):
            return None
    return window


def _visible(mask: Array) -> Array | None:
    """Return which keys a mask shows, if it does nothing else."""
    if mask.ndim != 4 or mask.shape[1] != 1:
        return None
    if mask.dtype == np.bool_:
        return mask
    return mask == 0 if bool(((mask == 0) | (mask < -1e4)).all()) else None


def _causal(past: int, new: int, window: int) -> Array:
    query, key = np.arange(past, past + new)[:, None], np.arange(past + new)[None]
    pattern: Array = (key <= query) & ((key > query - window) if window else True)
    return pattern


class _Angles:
    """The rotary tables of a model, each stored once."""

    def __init__(self, model: ir.Model, context: int) -> None:
        self._model, self._context = model, context
        self._made: dict[tuple[ir.Value, ir.Value], tuple[ir.Value, ir.Value] | None] = {}

    def tables(self, layer: _Layer) -> _Tables | None:
        """Return cos and sin of every position, [context, size / 2], None where the kernel cannot rotate by them."""
        if layer.rotations is None or layer.size % _ROTATED_WIDTH:
            return None
        query, key = layer.rotations
        cos, sin = query.inputs[1], query.inputs[2]
        if list(key.inputs[1:]) != [cos, sin] or cos is None or sin is None:
            return None
        kind = attribute(query, "interleaved", 0)
        if kind != attribute(key, "interleaved", 0) or attribute(query, "num_heads", 0) != layer.heads:
            return None
        if (cos, sin) not in self._made:
            self._made[cos, sin] = self._make(cos, sin)
        found = self._made[cos, sin]
        return None if found is None else _Tables(*found, interleaved=int(kind))

    def _make(self, cos: ir.Value, sin: ir.Value) -> tuple[ir.Value, ir.Value] | None:
        part = Computation(self._model, [cos, sin])
        whole = part(_inputs(self._model, 0, self._context))
        for past, new in ((0, 2), (5, 3)):
            some = part(_inputs(self._model, past, new))
            if any(not _agree(table, few, past) for table, few in zip(whole, some, strict=True)):
                return None
        if whole[0].shape[-1] % (_ROTATED_WIDTH // 2):
            return None
        graph = self._model.graph
        return (
            add_initializer(graph, "rotary.cos", np.ascontiguousarray(whole[0][0])),
            add_initializer(graph, "rotary.sin", np.ascontiguousarray(whole[1][0])),
        )


def _agree(table: Array, few: Array, past: int) -> bool:
    """Return whether the angles `few` of positions from `past` on are those of the table, up to how vectors are rounded."""
    return table.ndim == few.ndim == 3 and np.allclose(table[:, past : past + few.shape[1]], few, rtol=0, atol=1e-6)


def _lengths(graph: ir.Graph) -> tuple[ir.Value, ir.Value]:
    """Insert the nodes that compute the index of each text's last token [batch], and the longest text's length []."""
    mask = next(value for value in graph.inputs if value.name == "attention_mask")
    one = add_initializer(graph, "mask_axis", int64(1))
    total_place = add_initializer(graph, "mask_length", np.array(1, np.int64))
    reduced = ir.node("ReduceSum", [mask, one], {"keepdims": 0})
    last = ir.node("Sub", [reduced.outputs[0], one])
    seqlens = ir.node("Cast", [last.outputs[0]], {"to": ir.DataType.INT32.value})
    shape = ir.node("Shape", [mask])
    length = ir.node("Gather", [shape.outputs[0], total_place])
    total = ir.node("Cast", [length.outputs[0]], {"to": ir.DataType.INT32.value})
    nodes = [reduced, last, seqlens, shape, length, total]
    for node, name in zip(nodes, ("text_lengths", "text_last", "seqlens", "mask_shape", "total_length", "total"), strict=True):
        node.outputs[0].name = fresh_name(graph, name)
        node.name = f"{node.op_type}:{node.outputs[0].name}"
    graph.insert_before(graph[0], nodes)
    seqlens.outputs[0].type = total.outputs[0].type = ir.TensorType(ir.DataType.INT32)
    seqlens.outputs[0].shape, total.outputs[0].shape = ir.Shape(["batch"]), ir.Shape([])
    return seqlens.outputs[0], total.outputs[0]


def _replace(graph: ir.Graph, layer: _Layer, lengths: tuple[ir.Value, ir.Value], tables: _Tables | None, window: int) -> None:
    node = layer.node
    query, key, value = node.inputs[:3]
    if tables is not None and layer.rotations is not None:
        query, key = layer.rotations[0].inputs[0], layer.rotations[1].inputs[0]
    packed = _packed(query, key, value, layer) if tables is not None or layer.rotations is None else None
    taken = [packed, None, None] if packed is not None else [query, key, value]
    rotary = [tables.cos, tables.sin] if tables is not None else []
    attributes: dict[str, int | float] = {
        "num_heads": layer.heads,
        "kv_num_heads": layer.kv_heads,
        "do_rotary": int(tables is not None),
        "rotary_interleaved": tables.interleaved if tables is not None else 0,
        "scale": float(attribute(node, "scale", 0.0) or layer.size**-0.5),
        "local_window_size": window or -1,
        "softcap": float(attribute(node, "softcap", 0.0)),
    }
    made = ir.node(
        "GroupQueryAttention",
        [*taken, *node.inputs[4:6], *lengths, *rotary],
        attributes,
        domain="com.microsoft",
        num_outputs=3,
        metadata_props=dict(node.metadata_props),
    )
    made.name = name_of(node)
    graph.insert_before(node, made)
    for old, new in zip(node.outputs[:3], made.outputs, strict=True):
        take_over(old, new)
    graph.remove(node, safe=True)


def _packed(query: ir.Value | None, key: ir.Value | None, value: ir.Value | None, layer: _Layer) -> ir.Value | None:
    """Return what query, key and value are split from, in that order and side by side."""
    split = produced_by(query, "Split")
    if split is None or [*split.outputs] != [query, key, value] or attribute(split, "axis", 0) not in {-1, 2}:
        return None
    widths = [layer.heads * layer.size, layer.kv_heads * layer.size, layer.kv_heads * layer.size]
    sizes = integers(split.inputs[1]) if len(split.inputs) > 1 else None
    known = sizes if sizes is not None else [(static_shape(item) or (0,))[-1] for item in split.outputs]
    return split.inputs[0] if known == widths else None
