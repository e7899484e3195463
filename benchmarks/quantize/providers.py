"""Does a target's own placement beat the CPU's? One model, quantized both ways, run on the target's provider.

    python -m benchmarks.quantize.providers qnn-htp-emulated --model M.onnx --calibration C.npz --evaluation E.npz

Printed for each way: what fell back to the CPU, partitions, agreement with the floating-point model's best class (and accuracy,
with ``labels`` in E.npz), SQNR of the outputs, and, unless the target is an emulator, time against floating point, interleaved.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime as ort

from edgeopt.data.arrays import read_arrays
from edgeopt.data.samples import Samples
from edgeopt.graph import files as onnx_files
from edgeopt.graph.macs import count_macs
from edgeopt.profile.placement import read_placement
from edgeopt.quantize import QuantizeConfig, quantize
from edgeopt.quantize.sqnr import sqnr_db
from edgeopt.targets.requests import Sent, find_partitions, open_variant, time_blocks, write_outputs
from edgeopt.targets.runner import Runner
from edgeopt.targets.target import Rules, Target, load_target
from edgeopt.targets.transports import connect

_BLOCKS, _RUNS = 12, 5


def main() -> None:
    """Run the comparison as asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("target")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--calibration", type=Path, required=True)
    parser.add_argument("--evaluation", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=100, help="of the evaluation; an emulator takes seconds for each")
    parser.add_argument("--placements", nargs="+", default=["own", "kernels"], help="own, kernels, inputs, everywhere")
    parser.add_argument("--set", nargs="*", default=[], help="options of the quantization, KEY=VALUE")
    arguments = parser.parse_args()
    target = load_target(arguments.target)
    calibration = read_arrays(arguments.calibration)
    samples = read_arrays(arguments.evaluation).first(arguments.samples)
    config = QuantizeConfig.read(_options(arguments.set), where="--set")
    with tempfile.TemporaryDirectory(prefix="edgeopt-bench-") as folder:
        models = {"fp32": arguments.model}
        for name in arguments.placements:
            path = Path(folder) / f"{name}.onnx"
            result = quantize(arguments.model, calibration.batches(1), target=_target(target, name), output=path, config=config)
            for decision in result.facts.decisions:
                if decision.what in {"placement", "16-bit activations", "shared ranges"}:
                    print(f"{name}: {decision.what}: {decision.choice}: {decision.reason[:150]}")
            models[name] = path
        print(f"\n{target.name}, {arguments.model.name}, {len(samples)} samples\n")
        print(_table(target, models, samples))


def _options(changes: list[str]) -> dict[str, Any]:
    from edgeopt.recipe import apply_change

    values: dict[str, Any] = {}
    for change in changes:
        apply_change(values, change)
    return values


def _target(target: Target, name: str) -> Target:
    """Return the target, with another's placement unless its own is asked for."""
    if name == "own":
        return target
    rules = target.quantization.rules.model_copy(update={"placement": name})
    if name == "kernels":
        rules = Rules(per_channel_ops=rules.per_channel_ops)
    if name == "inputs":
        rules = rules.model_copy(update={"ops": ["Add"], "bias": "float"})
    return target.model_copy(update={"quantization": target.quantization.model_copy(update={"rules": rules})})


def _table(target: Target, models: Mapping[str, Path], samples: Samples) -> str:
    reference = _reference(models["fp32"], samples)
    lines = [
        "| model | on the CPU, share of MACs | nodes | partitions | agreement | accuracy | SQNR, dB | × fp32 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    with connect(target) as connection, connection.start() as runner, tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        batches = list(samples.batches(1))
        np.savez(inputs, **{f"{i}/{name}": array for i, batch in enumerate(batches) for name, array in batch.items()})
        session = target.provider.session()
        opened = {}
        measured = {name: path for name, path in models.items() if name != "fp32" or not target.device.emulated}
        for name, path in measured.items():
            try:
                open_variant(runner, name, Sent(str(path), str(inputs), session))
            except Exception as error:  # noqa: BLE001  (a model the provider refuses is a row, not the end)
                lines.append(f"| {name} | refused: {str(error)[:120]} ||||||")
                continue
            opened[name] = path
        faster = {} if target.device.emulated else _ratios(runner, list(opened))
        for name, path in opened.items():
            model = onnx_files.load(path)
            placement = read_placement(find_partitions(runner, name), model, count_macs(model, batches[0]))
            with np.load(write_outputs(runner, name, timeout_s=3000.0).path) as stored:
                got = {key: stored[key] for key in stored.files}
            cells = ["?", "?", "?"]
            if placement:
                nodes = ", ".join(
                    f"{count} {provider.removesuffix('ExecutionProvider')}" for provider, count in placement.nodes.items()
                )
                cells = [f"{placement.cpu_fallback_share:.1%}", nodes, str(placement.partitions)]
            lines.append(f"| {name} | {' | '.join([*cells, *_judge(got, reference, samples)])} | {faster.get(name, 0):.2f} |")
    return "\n".join(lines)


def _reference(path: Path, samples: Samples) -> dict[str, Any]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return {
        f"{number}/{name}": array
        for number, batch in enumerate(samples.batches(1))
        for name, array in zip(names, session.run(names, batch), strict=True)
    }


def _ratios(runner: Runner, names: list[str]) -> dict[str, float]:
    """Return how many times faster than the first model each is: the median over blocks taken in turns."""
    blocks = [(name, 0, _RUNS) for _ in range(_BLOCKS) for name in names]
    taken = time_blocks(runner, [(name, 0, 3) for name in names] + blocks, limit_s=240.0).blocks
    times: dict[str, list[float]] = {name: [] for name in names}
    for name, ns, *_ in taken[len(names) :]:
        times[name].append(min(ns))
    return {name: median(a / b for a, b in zip(times[names[0]], times[name], strict=True)) for name in names}


def _judge(got: Mapping[str, Any], reference: Mapping[str, Any], samples: Samples) -> list[str]:
    signal = noise = 0.0
    same: list[bool] = []
    right: list[bool] = []
    for key, want in reference.items():
        have = got[key].astype(np.float64)
        signal += float(np.square(want, dtype=np.float64).sum())
        noise += float(np.square(have - want).sum())
        same += list((have.argmax(-1) == want.argmax(-1)).reshape(-1))
        if samples.labels is not None:
            right.append(bool(have.argmax() == samples.labels[int(key.split("/")[0])]))
    accuracy = f"{np.mean(right):.4f}" if right else "–"
    return [f"{np.mean(same):.4f}", accuracy, f"{sqnr_db(signal, noise):.1f}"]


if __name__ == "__main__":
    main()
