"""Do optimum's ORTModel classes load the folders edgeopt writes, and give what PyTorch gives?

    python benchmarks/export/ort_models.py OPTIMUM_PYTHON [CASE]…

makes tiny random models, exports them here (transformers 5) and runs this file again with OPTIMUM_PYTHON (optimum-onnx on
transformers 4.57; `peers.sh` makes it), which loads each folder with the class of its task. Prints a Markdown table;
ends with 1 if a case differs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

CASES = {
    "text-classification": ("bert", "text-classification", "ORTModelForSequenceClassification"),
    "feature-extraction": ("bert", "feature-extraction", "ORTModelForFeatureExtraction"),
    "image-classification": ("vit", "image-classification", "ORTModelForImageClassification"),
    "zero-shot-image-classification": ("clip", "zero-shot-image-classification", "ORTModelForZeroShotImageClassification"),
    "text-generation": ("llama", "text-generation", "ORTModelForCausalLM"),
    "text2text-generation": ("t5", "text2text-generation/optimum", "ORTModelForSeq2SeqLM"),
    "automatic-speech-recognition": ("whisper", "automatic-speech-recognition/optimum", "ORTModelForSpeechSeq2Seq"),
}
_GENERATED = 20


def make(case: str, folder: Path) -> str:
    """Export the tiny model of `case` into `folder`, with inputs and PyTorch's answer in facts.npz; return its class."""
    import torch

    from edgeopt.export import ExportConfig, export, export_for_optimum
    from edgeopt.export.family import random_samples
    from edgeopt.export.proof import tiny_model
    from edgeopt.export.registry import load_family
    from edgeopt.targets.target import load_target

    name, task, kind = CASES[case]
    family = load_family(name)
    halves = task.endswith("/optimum")
    first = task.replace("/optimum", "/encoder")
    model = tiny_model(family, first)
    batch = dict(random_samples(family.tasks[first], model.config)[0])
    target, config = load_target("x86-vnni"), ExportConfig(task=first)
    if halves:
        export_for_optimum(model, target=target, output=folder)
    else:
        export(model, None, target=target, output=folder, config=config)
    model.config.save_pretrained(folder)
    if halves or case == "text-generation":
        batch = {
            key: batch[key] for key in batch if not key.startswith("past") and key not in {"attention_mask", "position_ids"}
        }
        given = {key: torch.from_numpy(array) for key, array in batch.items()}
        expected = {
            "tokens": model.generate(**given, do_sample=False, max_new_tokens=_GENERATED, min_new_tokens=_GENERATED).numpy()
        }
    else:
        with torch.no_grad():
            produced = model(**{key: torch.from_numpy(array) for key, array in batch.items()})
        expected = {key: produced[key].numpy() for key in family.tasks[task].outputs}
    np.savez(folder / "facts.npz", **{f"in.{k}": v for k, v in batch.items()}, **{f"out.{k}": v for k, v in expected.items()})
    return kind


def check(kind: str, folder: Path) -> str:
    """In the other environment: load `folder` with optimum's class `kind`; return what differs, or how little."""
    import optimum.onnxruntime
    import torch

    facts = dict(np.load(folder / "facts.npz"))
    given = {key[3:]: torch.from_numpy(array) for key, array in facts.items() if key.startswith("in.")}
    expected = {key[4:]: array for key, array in facts.items() if key.startswith("out.")}
    model = getattr(optimum.onnxruntime, kind).from_pretrained(folder)
    if "tokens" in expected:
        found = model.generate(**given, do_sample=False, max_new_tokens=_GENERATED, min_new_tokens=_GENERATED).numpy()
        same = np.array_equal(found, expected["tokens"])
        return f"{_GENERATED} tokens equal" if same else f"differs: {found.tolist()} for {expected['tokens'].tolist()}"
    produced = model(**given)
    worst = max(float(np.abs(produced[k].numpy() - v).max() / np.abs(v).max()) for k, v in expected.items())
    return f"relative error {worst:.1e}" if worst < 1e-4 else f"differs: relative error {worst:.1e}"


def prove(case: str, python: str) -> str:
    """Return what became of `case`."""
    with tempfile.TemporaryDirectory() as name:
        kind = make(case, Path(name))
        command = [python, "-W", "ignore", __file__, "--check", kind, name]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        return "differs: " + (done.stderr.strip().splitlines() or ["?"])[-1][:200]
    return str(json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    """Print the table, or the one result that was asked for."""
    if sys.argv[1] == "--check":
        print(json.dumps(check(sys.argv[2], Path(sys.argv[3]))))
        return 0
    print("| task | family | class of optimum-onnx 0.1.0 | result |\n|---|---|---|---|")
    failed = False
    for case in sys.argv[2:] or CASES:
        found = prove(case, sys.argv[1])
        failed |= found.startswith("differs")
        print(f"| {case} | {CASES[case][0]} | {CASES[case][2]} | {found} |", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
