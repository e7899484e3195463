"""What quantize writes, so that a change of the code can be told from a change of behaviour.

    python -m benchmarks.quantize.behaviour record --data DATA --work FOLDER --output before.json
    python -m benchmarks.quantize.behaviour compare before.json after.json

`record` quantizes MobileNetV2, a text classifier, UltraFace, FastestDet, silero and ten files of onnx_zoo for five targets with
default options, each in a process of its own. It keeps the SHA-256 of the file and of what it computes (operators,
attributes and constants in topological order, whatever they are called), the plan, operator counts, the share of integer
multiply-accumulates, the outputs on the first sample, seconds (elapsed and of the processor) and peak memory. `compare` names
every difference.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from benchmarks.quantize import tasks

_TARGETS = ("x86-vnni", "x86-avx2", "arm64", "qnn-htp-emulated", "tensorrt")
_ZOO = (
    "2a33c2f14e_model_mini",
    "127ffc922b_silero_vad",
    "f0abdc2128_cifar_base_kw",
    "0376954635_cifar_deep_kw",
    "7ee2547229_model",
    "2345cdb26b_fullVanilla",
    "2cc6c0edc3_cnn_max_mninst2",
    "5ff31292a0_self-attention-small-sim",
    "9fa719d62c_mnist5x20_leaky_relu",
    "7fd57cb4ed_conv_mp1",
)
Sample = dict[str, np.ndarray]


def _images(folder: Path, size: tuple[int, int], convert: Callable[[np.ndarray], np.ndarray], name: str) -> list[Sample]:
    from PIL import Image

    paths = sorted(folder.glob("*.jpg"))[:16]
    loaded = [np.asarray(Image.open(path).convert("RGB").resize(size, Image.Resampling.BILINEAR), np.float32) for path in paths]
    return [{name: np.ascontiguousarray(convert(image).transpose(2, 0, 1)[None], np.float32)} for image in loaded]


def _letterboxed(folder: Path) -> list[Sample]:
    """Return every second image as YOLOX reads it: BGR, 0 to 255, scaled into 416 × 416 with grey below and beside it."""
    from PIL import Image

    samples = []
    for path in sorted(folder.glob("*.jpg"))[::2]:
        image = Image.open(path).convert("RGB")
        ratio = min(416 / image.width, 416 / image.height)
        size = round(image.width * ratio), round(image.height * ratio)
        canvas = np.full((416, 416, 3), 114, np.float32)
        canvas[: size[1], : size[0]] = np.asarray(image.resize(size, Image.Resampling.BILINEAR))[..., ::-1]
        samples.append({"images": np.ascontiguousarray(canvas.transpose(2, 0, 1)[None])})
    return samples


def _silero(data: Path) -> list[Sample]:
    from benchmarks.quantize import voice

    frames = voice._frames(data / "silero_vad" / "test.wav")
    states = np.random.default_rng(0).standard_normal((16, 2, 1, 128)).astype(np.float32) * 0.3
    return [
        voice._inputs(data / "silero_vad" / "silero_vad_16k_op15.onnx", frames[40 * number], states[number])
        for number in range(16)
    ]


def _random(model: Path) -> list[Sample]:
    from edgeopt.data.random_inputs import random_batches

    return list(random_batches(model, count=4))


def case(name: str, data: Path, work: Path) -> tuple[Path, list[Sample]]:
    """Return the model called `name` and its calibration samples."""
    match name:
        case "mobilenetv2" | "sst2":
            task = tasks.TASKS[name](data, work, 0, 32)
            return task.model, list(task.calibration)
        case "ultraface":
            model = data / "ultraface_slim" / "version-slim-320.onnx"
            return model, _images(data / "ultraface_slim" / "imgs", (320, 240), lambda image: (image - 127) / 128, "input")
        case "fastestdet":
            model = data / "fastestdet" / "FastestDet.onnx"
            return model, _images(
                data / "coco128_train" / "images", (352, 352), lambda image: image[..., ::-1] / 255, "input.1"
            )
        case "yolox":
            return data / "yolox_nano" / "yolox_nano.onnx", _letterboxed(data / "coco128_train" / "images")
        case "silero":
            return data / "silero_vad" / "silero_vad_16k_op15.onnx", _silero(data)
    model = data / "onnx_zoo" / f"{name}.onnx"
    return model, _random(model)


def _what_it_computes(model: onnx.ModelProto) -> str:
    """Return the SHA-256 of the graph's operators, attributes and constants, whatever nodes and tensors are called."""
    digest = hashlib.sha256()
    known: dict[str, str] = {"": ""}
    for number, value in enumerate(model.graph.input):
        known[value.name] = f"input {number}"
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        content = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
        known[tensor.name] = f"constant {tensor.data_type} {list(tensor.dims)} {content}"
    for node in model.graph.node:
        attributes = sorted(hashlib.sha256(item.SerializeToString(deterministic=True)).hexdigest() for item in node.attribute)
        text = f"{node.domain} {node.op_type} {[known.get(name, name) for name in node.input]} {attributes}"
        made = hashlib.sha256(text.encode()).hexdigest()
        for number, name in enumerate(node.output):
            known[name] = f"{made} {number}"
    for value in model.graph.output:
        digest.update(known[value.name].encode())
    return digest.hexdigest()


def _one(name: str, target: str, data: Path, work: Path) -> dict[str, Any]:
    """Quantize one model for one target and return what is to be remembered of it."""
    import onnxruntime

    import edgeopt
    from edgeopt.errors import EdgeoptError

    path, samples = case(name, data, work)
    with tempfile.TemporaryDirectory(prefix="edgeopt-bench-") as folder:
        output = Path(folder) / "int8.onnx"
        began, began_cpu = time.perf_counter(), time.process_time()
        try:
            result = edgeopt.quantize(path, samples, target=edgeopt.load_target(target), output=output)
        except EdgeoptError as error:
            return {"refused": str(error).replace(str(data), "DATA").replace(folder, "FOLDER")}
        seconds, processor_seconds = time.perf_counter() - began, time.process_time() - began_cpu
        peak = _peak_bytes()
        model = onnx.load(output)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        try:
            session = onnxruntime.InferenceSession(output, options, providers=["CPUExecutionProvider"])
            made = [np.asarray(value) for value in session.run(None, samples[0])]
            sums = [hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16] for value in made]
            norms = [float(np.linalg.norm(value.astype(np.float64))) for value in made if value.dtype.kind == "f"]
        except Exception as error:  # noqa: BLE001  (what the CPU provider says of another provider's file is part of the record)
            sums, norms = [str(error).splitlines()[0][:200]], []
        return {
            "file": hashlib.sha256(output.read_bytes()).hexdigest(),
            "computes": _what_it_computes(model),
            "plan": json.loads(result.plan_path.read_text(encoding="utf-8")),
            "operators": dict(sorted(Counter(node.op_type for node in model.graph.node).items())),
            "int8_macs_share": result.facts.coverage.int8_macs_share,
            "warnings": list(result.facts.warnings),
            "outputs": sums,
            "norms": norms,
            "seconds": round(seconds, 2),
            "processor_seconds": round(processor_seconds, 2),
            "peak_rss_bytes": peak,
        }


def _peak_bytes() -> int:
    """Return the most memory that this process held; `ru_maxrss` would hold its parent's peak, too."""
    fields = (line.split() for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return next(int(field[1]) * 1024 for field in fields if field[0] == "VmHWM:")


def _record(data: Path, work: Path, output: Path, only: list[str]) -> None:
    names = only or ["mobilenetv2", "sst2", "ultraface", "fastestdet", "yolox", "silero", *_ZOO]
    rows: dict[str, Any] = {}
    for name in names:
        case(name, data, work)  # exports what is not there yet, outside the measured process
        for target in _TARGETS:
            command = [sys.executable, "-m", "benchmarks.quantize.behaviour", "one", name, target]
            command += ["--data", str(data), "--work", str(work)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            row = json.loads(done.stdout) if done.returncode == 0 else {"crashed": done.stderr.strip().splitlines()[-1:]}
            rows[f"{name} {target}"] = row
            print(
                f"{name:42} {target:18} {row.get('processor_seconds', '-'):>8} s  {row.get('computes', str(row))[:60]}",
                flush=True,
            )
    output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for key in ("refused", "crashed", "computes", "outputs", "int8_macs_share", "warnings"):
        if before.get(key) != after.get(key):
            yield f"{key}: {str(before.get(key))[:90]} → {str(after.get(key))[:90]}"
    operators = {key: Counter(row.get("operators", {})) for key, row in (("before", before), ("after", after))}
    for op in sorted(operators["before"] | operators["after"]):
        counts = operators["before"][op], operators["after"][op]
        if counts[0] != counts[1]:
            yield f"{op}: {counts[0]} → {counts[1]} nodes"
    for part in ("nodes", "tensors"):
        yield from _plan_differences(part, before.get("plan", {}), after.get("plan", {}))


def _plan_differences(part: str, before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    old, new = ({item["name"]: item for item in plan.get(part, ())} for plan in (before, after))
    for name in sorted(old.keys() ^ new.keys())[:5]:
        yield f"plan: {part[:-1]} {name} only {'before' if name in old else 'after'}"
    shared = ("precision", "output", "reduce_range", "dtype", "low", "high")
    changed = [name for name in old.keys() & new.keys() if any(old[name].get(key) != new[name].get(key) for key in shared)]
    if changed:
        name = min(changed)
        yield f"plan: {len(changed)} {part} differ, such as {name}: {old[name]} → {new[name]}"


def _compare(before: Path, after: Path) -> None:
    old, new = (json.loads(path.read_text(encoding="utf-8")) for path in (before, after))
    same = bytes_equal = 0
    for name in [key for key in old if key in new]:
        found = list(_differences(old[name], new[name]))
        same += not found
        bytes_equal += old[name].get("file") == new[name].get("file")
        for line in found:
            print(f"{name}: {line}")
    total = sum(key in new for key in old)
    print(f"{same} of {total} compute the same by the same plan; {bytes_equal} files are equal to the byte")
    for figure in ("seconds", "processor_seconds", "peak_rss_bytes"):
        pairs = [(old[key], new[key]) for key in old if key in new and figure in old[key] and figure in new[key]]
        ratios = sorted(b[figure] / a[figure] for a, b in pairs)
        if ratios:
            total_ratio = sum(b[figure] for _, b in pairs) / sum(a[figure] for a, _ in pairs)
            print(f"{figure}: sum × {total_ratio:.3f}, median × {ratios[len(ratios) // 2]:.3f}, most × {ratios[-1]:.3f}")


def main() -> None:
    """Record or compare, as asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    commands = parser.add_subparsers(dest="command", required=True)
    record, one, compare = (commands.add_parser(name) for name in ("record", "one", "compare"))
    one.add_argument("name")
    one.add_argument("target")
    for command in (record, one):
        command.add_argument("--data", type=Path, required=True)
        command.add_argument("--work", type=Path, required=True)
    record.add_argument("--output", type=Path, required=True)
    record.add_argument("--only", nargs="*", default=[], help="names of models; default: all")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "record":
        _record(arguments.data, arguments.work, arguments.output, arguments.only)
    elif arguments.command == "one":
        print(json.dumps(_one(arguments.name, arguments.target, arguments.data, arguments.work)))
    else:
        _compare(arguments.before, arguments.after)


if __name__ == "__main__":
    main()
