"""Export the models that latency_table.py saved with optimum-onnx, in optimum's own environment (benchmarks/export/peers.sh).

    FOLDER/optimum/bin/python benchmarks/export/optimum_graphs.py build/latency

Writes `optimum.onnx` (and its data) beside each `source`; a model it cannot export leaves `optimum.txt` with the reason.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path

from optimum.exporters.onnx import main_export

_TASKS = {"text-generation": "text-generation-with-past"}
_PARTS = {
    "encoder": ["encoder_model.onnx"],
    "decoder": ["decoder_with_past_model.onnx"],
    "": ["model.onnx"],
}


def export(folder: Path) -> None:
    """Export one model."""
    task, _, half = json.loads((folder / "case.json").read_text())["task"].partition("/")
    task = _TASKS.get(task, task + "-with-past" if half else task)
    with tempfile.TemporaryDirectory() as name:
        main_export(
            str(folder / "source"), name, task=task, do_validation=False, no_post_process=True, library_name="transformers"
        )
        found = Path(name) / _PARTS[half][0]
        shutil.copyfile(found, folder / "optimum.onnx")


def main() -> None:
    """Export what is not there yet."""
    for folder in sorted(path.parent for path in Path(sys.argv[1]).glob("*/case.json")):
        if (folder / "optimum.onnx").exists() or (folder / "optimum.txt").exists():
            continue
        try:
            export(folder)
            print(folder.name, "exported", flush=True)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is the row's reason)
            reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0][:150] if str(error).strip() else ''}"
            (folder / "optimum.txt").write_text(reason)
            print(folder.name, reason, flush=True)


if __name__ == "__main__":
    main()
