"""Plots of a model's execution: time by source module, MACs by arithmetic, placement, memory over a run."""

from __future__ import annotations

from collections.abc import Sequence

from edgeopt import units
from edgeopt.profile.result import MemoryPoint, OperatorTime
from edgeopt.report.figure import Figure, Trace, colour, conditions, label, time_bars
from edgeopt.report.limits import principal
from edgeopt.report.model import Execution, Report, Variant

_MODULES = 16
_LAYERS = 40
_ARITHMETIC = {"int8": "#10b981", "fp32": "#f59e0b"}
_PROVIDERS = ("#6366f1", "#f43f5e", "#84cc16", "#06b6d4", "#a16207")
_CPU = "CPUExecutionProvider"


def module_times(report: Report) -> Figure | None:
    """Plot the time of each source module without its submodules; by prefixes of node names where modules are unknown."""
    found = {variant.name: _own_times(variant) for variant in principal(report)}
    times = {name: own for name, own in found.items() if len(own) > 1}
    if not times:
        return None
    order = sorted({module for own in times.values() for module in own}, key=lambda it: (-_most(times, it), it))
    shown, rest = order[:_MODULES], order[_MODULES:]
    names = [*shown, *([f"{len(rest)} others"] if rest else [])]
    values = {
        name: [*(own.get(module, 0.0) for module in shown), *([sum(own.get(it, 0.0) for it in rest)] if rest else [])]
        for name, own in times.items()
    }
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": label(name),
            "y": [label(module, 44) for module in reversed(names)],
            "x": list(reversed(values[name])),
            "marker": {"color": colour(name, report)},
            "hovertemplate": "%{y}: %{x:.4f} ms<extra>" + label(name) + "</extra>",
        }
        for name in reversed(times)
    ]
    return Figure(
        "modules",
        "Where in the source model the time goes",
        "Time per run of each module's operators, without those of its submodules, by the names that the exporter gave the "
        f"nodes (by prefixes of node names where they contain no module; {conditions(report)}).",
        traces,
        time_bars(max(300, 90 + len(names) * 14 * (1 + len(times)))),
        head=("module", *times),
        rows=[(module, *(units.milliseconds(values[name][row]) for name in times)) for row, module in enumerate(names)],
    )


def _own_times(variant: Variant) -> dict[str, float]:
    if variant.speed is None:
        return {}
    if variant.speed.modules:
        return {module.name or "(no module)": module.own_ms for module in variant.speed.modules if module.own_ms > 0}
    own: dict[str, float] = {}
    for operator in variant.speed.operators:
        parts = [part for part in operator.name.split("/")[:-1] if part]
        name = "/".join(parts[:2]) or "(no module)"
        own[name] = own.get(name, 0.0) + operator.ms
    return own


def _most(times: dict[str, dict[str, float]], module: str) -> float:
    return max(own.get(module, 0.0) for own in times.values())


def coverage(report: Report) -> Figure | None:
    """Plot the MACs of each layer of the last variant, by the arithmetic that really ran."""
    variants = [variant for variant in principal(report) if variant.speed and any(it.macs for it in variant.speed.operators)]
    if not variants:
        return None
    variant = variants[-1]
    layers = sorted((it for it in (variant.speed.operators if variant.speed else ()) if it.macs), key=lambda it: -it.macs)
    total = sum(layer.macs for layer in layers)
    shown, rest = layers[:_LAYERS], layers[_LAYERS:]
    kinds = sorted({layer.kind or "unknown" for layer in shown})
    traces = [_layer_bars(kind, shown, total) for kind in kinds]
    shares = {kind: sum(layer.macs for layer in layers if (layer.kind or "unknown") == kind) / total for kind in kinds}
    said = ", ".join(f"{units.percent(share)} in {kind}" for kind, share in sorted(shares.items(), key=lambda it: -it[1]))
    more = f" {len(rest)} smaller layers have the other {units.percent(sum(it.macs for it in rest) / total)}." if rest else ""
    why = {island.node: island.reason for island in report.islands}
    return Figure(
        "coverage",
        f"Which arithmetic does the work of {variant.name}",
        f"Multiply-accumulates of each layer as it ran, largest first: {said}.{more}",
        traces,
        {
            "xaxis": {"title": {"text": "layer, by multiply-accumulates"}, "range": [0.4, len(shown) + 0.6]},
            "yaxis": {"title": {"text": "share of the MACs (%)"}, "rangemode": "tozero"},
            "barmode": "overlay",
            "bargap": 0.15,
        },
        head=("layer", "operator", "MACs", "share", "ran in", "why not int8"),
        rows=[
            (
                layer.name or "(no name)",
                layer.op,
                units.count(layer.macs),
                units.percent(layer.macs / total),
                layer.kind or "unknown",
                "" if layer.kind == "int8" else why.get(layer.name, ""),
            )
            for layer in shown
        ],
    )


def _layer_bars(kind: str, shown: Sequence[OperatorTime], total: int) -> Trace:
    own = [(place, layer) for place, layer in enumerate(shown, 1) if (layer.kind or "unknown") == kind]
    return {
        "type": "bar",
        "name": label(kind),
        "x": [place for place, _ in own],
        "y": [100 * layer.macs / total for _, layer in own],
        "marker": {"color": _ARITHMETIC.get(kind, "#6366f1")},
        "customdata": [[label(layer.name, 100), label(layer.op), units.count(layer.macs)] for _, layer in own],
        "hovertemplate": "<b>%{customdata[0]}</b><br>%{customdata[1]}, %{customdata[2]} MACs<extra>" + label(kind) + "</extra>",
    }


def placement(report: Report) -> Figure | None:
    """Plot the partitions in running order, one strip per variant; nothing where one provider runs everything."""
    shown = [execution for execution in report.executions if execution.stretches]
    if not any(len(execution.stretches) > 1 for execution in shown):
        return None
    providers = sorted({stretch.provider for execution in shown for stretch in execution.stretches}, key=lambda it: it == _CPU)
    hues = {name: "#94a3b8" if name == _CPU else _PROVIDERS[k % len(_PROVIDERS)] for k, name in enumerate(providers)}
    traces = [_strip(name, shown, hues[name]) for name in providers]
    return Figure(
        "placement",
        "Which provider runs what",
        "The graph's nodes in running order, coloured by provider; every change of colour costs a copy and "
        "a synchronization. " + " ".join(_placement_said(execution) for execution in shown),
        traces,
        {
            "xaxis": {"title": {"text": "node, in running order"}},
            "yaxis": {"type": "category", "automargin": True},
            "barmode": "stack",
            "height": 130 + 54 * len(shown),
        },
        wide=True,
        head=("model", "from node", "provider", "nodes", "begins with"),
        rows=[row for execution in shown for row in _stretch_rows(execution)],
    )


def _placement_said(execution: Execution) -> str:
    parts = f"{execution.partitions or len(execution.stretches)} partitions"
    blame = f", first at {execution.breaks[0]}" if execution.breaks else ""
    return f"{execution.name}: {parts}, {units.percent(execution.cpu_fallback_share)} of the work fell back to the CPU{blame}."


def _begins(execution: Execution) -> list[int]:
    begins = [0]
    for stretch in execution.stretches:
        begins.append(begins[-1] + stretch.nodes)
    return begins


def _stretch_rows(execution: Execution) -> list[tuple[str, ...]]:
    begins = _begins(execution)
    return [
        (execution.name, str(begin + 1), stretch.provider, str(stretch.nodes), stretch.first)
        for begin, stretch in zip(begins, execution.stretches, strict=False)
    ]


def _strip(provider: str, shown: Sequence[Execution], hue: str) -> Trace:
    own = [
        (execution.name, begin, stretch)
        for execution in shown
        for begin, stretch in zip(_begins(execution), execution.stretches, strict=False)
        if stretch.provider == provider
    ]
    return {
        "type": "bar",
        "orientation": "h",
        "name": label(provider),
        "y": [label(name) for name, _, _ in own],
        "x": [stretch.nodes for _, _, stretch in own],
        "base": [begin for _, begin, _ in own],
        "marker": {"color": hue, "line": {"width": 0}},
        "customdata": [[label(stretch.first, 80), stretch.nodes] for _, _, stretch in own],
        "hovertemplate": "%{customdata[1]} nodes from %{customdata[0]}<extra>" + label(provider) + "</extra>",
    }


def memory(report: Report) -> Figure | None:
    """Plot the memory in onnxruntime's arena over the operators of one run."""
    shown = [(variant, _arena(variant)) for variant in principal(report)]
    shown = [(variant, points) for variant, points in shown if len(points) > 1]
    if not shown:
        return None
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": label(variant.name),
            "x": [round(100 * place / (len(points) - 1), 2) for place in range(len(points))],
            "y": [point.bytes / 1e6 for point in points],
            "line": {"color": colour(variant.name, report), "width": 1.8, "shape": "hv"},
            "customdata": [[label(point.label, 80), label(point.op or "")] for point in points],
            "hovertemplate": "%{y:.3g} MB after <b>%{customdata[0]}</b> (%{customdata[1]})<extra>"
            + label(variant.name)
            + "</extra>",
        }
        for variant, points in shown
    ]
    peaks = [(variant.name, max(points, key=lambda point: point.bytes)) for variant, points in shown]
    said = "; ".join(f"{name} {units.size(point.bytes)} at {point.label} ({point.op})" for name, point in peaks)
    return Figure(
        "memory",
        "Memory over one run",
        "Memory in onnxruntime's arena at the end of each operator: copied or packed weights, and live activations. "
        f"Peak: {said}.",
        traces,
        {
            "xaxis": {"title": {"text": "operators, in running order (%)"}, "range": [0, 100]},
            "yaxis": {"title": {"text": "held (MB)"}, "rangemode": "tozero"},
        },
        head=("model", "process", "resident memory"),
        rows=[
            (variant.name, point.label, units.size(point.bytes))
            for variant in principal(report)
            for point in (variant.speed.memory if variant.speed else ())
            if point.scope == "process"
        ],
    )


def _arena(variant: Variant) -> list[MemoryPoint]:
    return [point for point in (variant.speed.memory if variant.speed else ()) if point.scope == "arena"]
