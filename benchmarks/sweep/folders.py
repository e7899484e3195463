"""More readers for the sweep: annotations, models' folders, chat templates, packed bundles, deltas and programs.

Each is given with whole files to start from. Those with a "/" in their names stay beside the one that is damaged.
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.sweep.bundles import resealed
from edgeopt.data.samples import Samples
from edgeopt.data.source import Reader, open_source
from edgeopt.errors import DataError, ModelError

Read = Callable[[Path], object]
_STEPS = {"./p.toml": b'width = 4\nheight = 4\ninput = "x"\n'}
_TEMPLATE = (
    b"{% for m in messages %}{{ m['role'] + ': ' + m['content'] | trim }}{% if loop.last %}{{ 1 / 2 }}{% endif %}{% endfor %}"
)
_COCO = json.dumps(
    {
        "images": [{"id": 1, "file_name": "a.png", "width": 6, "height": 4}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 1, 2, 2], "iscrowd": 0, "area": 4}],
        "categories": [{"id": 3, "name": "cat"}],
    }
).encode()
_YOLO = {"n/labels/a.txt": b"0 0.5 0.5 0.2 0.3\n", "n/data.yaml": b"names: [cat, dog]\n"}
_GENERATION = json.dumps(
    {
        "schema_version": 1,
        "vocabulary": 8,
        "layers": 1,
        "heads": 2,
        "head_size": 4,
        "context": 16,
        "eos": [1],
        "bos": 0,
        "pad": 2,
    }
    | {"inputs": ["input_ids"], "logits": "logits"}
).encode()
_EVALUATION = json.dumps(
    {
        "task": "image-classification",
        "samples": 4,
        "models": [{"name": "a", "metric": "accuracy", "value": 0.5, "low": 0.4, "high": 0.6, "scores": [1, 0, 1, 0]}],
    }
).encode()
_DECODINGS = {"d.json": b'{"kind": "boxes", "strides": [8], "variances": [0.1, 0.2]}', "e.json": b'{"kind": "argmax"}'}
_LABELS = {"l.txt": b"a\nb\n", "l.json": b'{"0": "a", "1": "b"}', "c.json": b'{"id2label": {"0": "a"}}'}


def _photo(mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (6, 4)).save(buffer, "PNG")
    return buffer.getvalue()


def _packed_photos() -> bytes:
    photo = np.frombuffer(_photo(), np.uint8)
    buffer = io.BytesIO()
    offset = np.array([0, photo.size, 2 * photo.size])
    np.savez(buffer, jpeg=np.tile(photo, 2), offset=offset, label=np.array([0, 1]), classes=np.array(["a", "b"]))
    return buffer.getvalue()


def _all(samples: Samples) -> None:
    """Read the samples, and what they are compared with."""
    for index in range(min(len(samples), 16)):
        samples[index]
        if samples.annotations is not None:
            samples.annotations[index]


def _images(place: str) -> Read:
    """Return a reader of images at `place` below the case's folder, where their preprocessing is."""

    def read(path: Path) -> object:
        folder = next(parent for parent in path.parents if parent.name == "case")
        return _all(open_source(f"{folder / place}?preprocessing={folder / 'p.toml'}", Reader(("x",))))

    return read


def _text_folder(folder: Path) -> dict[str, bytes]:
    import transformers

    sizes = {"vocab_size": 8, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
    config = transformers.BertConfig(**sizes, max_position_embeddings=8, num_labels=3)
    transformers.BertForSequenceClassification(config).save_pretrained(folder / "text-seed")
    return {f"model/{file.name}": file.read_bytes() for file in sorted((folder / "text-seed").iterdir())}


def _program(folder: Path) -> bytes:
    import torch

    torch.export.save(torch.export.export(torch.nn.Linear(2, 1), (torch.zeros(1, 2),)), folder / "seed.pt2")
    return (folder / "seed.pt2").read_bytes()


def _read_model(path: Path) -> object:
    from edgeopt.models.load import load_model

    return load_model(path if path.suffix == ".pt2" else path.parent)


def _read_labels(path: Path) -> object:
    from edgeopt.bundle.raw import read_labels

    return read_labels(path)


def _read_decoding(path: Path) -> object:
    from edgeopt.documents import read_json
    from edgeopt.tasks.decoding import read_decoding

    values = read_json(path, error=DataError, what="a decoding")
    return read_decoding(values if isinstance(values, dict) else {}, where=str(path))


def _read_evaluation(path: Path) -> object:
    from edgeopt.evaluate.became_worse import compare_evaluations, is_evaluation, read_evaluation

    is_evaluation(path)
    found = read_evaluation(path)
    return compare_evaluations(found, found)


def _read_generation(path: Path) -> object:
    from edgeopt.generate.engine.description import describe
    from edgeopt.generate.engine.errors import FolderError

    (path.parent / "model.onnx").write_bytes(b"")
    try:
        return describe(path.parent)
    except FolderError as error:
        raise ModelError(str(error)) from error


def _read_template(path: Path) -> object:
    from edgeopt.generate.engine.errors import FolderError, PromptError
    from edgeopt.generate.engine.template import ChatTemplate

    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        return ChatTemplate(text).render([{"role": "user", "content": "a"}])
    except OSError as error:  # (a folder; the engine says it of the file that it was given)
        raise ModelError(str(error)) from error
    except (FolderError, PromptError) as error:
        raise ModelError(str(error).splitlines()[0]) from error


def _archive(form: str, folder: Path, files: Mapping[str, bytes]) -> bytes:
    from edgeopt.bundle.pack import pack_bundle

    seed, packed = folder / "pack-seed", folder / f"packed{form}"
    shutil.rmtree(seed, ignore_errors=True)
    for name, content in files.items():
        place = seed / Path(name).relative_to("bundle")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    pack_bundle(seed, packed)
    return packed.read_bytes()


def _escaping_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in ("../up.txt", "/abs.txt", "a/../../b", "C:\\x", "bundle.json", "con"):
            archive.writestr(name, "x")
    return buffer.getvalue()


def _read_archive(path: Path) -> None:
    from edgeopt.bundle.pack import unpack_bundle

    unpack_bundle(path, path.parent / "unpacked")


def _delta(folder: Path) -> bytes:
    from edgeopt.bundle.delta import write_delta

    write_delta(folder / "pack-seed", folder / "pack-seed", folder / "seed.delta")
    return (folder / "seed.delta").read_bytes()


def _apply_delta(folder: Path) -> Read:
    """Return a reader of deltas for the bundle that was packed."""
    from edgeopt.bundle.delta import apply_delta

    return lambda path: apply_delta(folder / "pack-seed", path, path.parent / "made")


def _deploy(path: Path) -> object:
    from edgeopt.bundle.deploy import Platform, deploy_bundle

    folder = next(parent for parent in path.parents if parent.name == "bundle")
    resealed(folder)
    return deploy_bundle(folder, Platform.NODE, output=folder.parent / "app")


def readers(folder: Path, bundle: Mapping[str, bytes]) -> dict[str, tuple[Read, dict[str, bytes]]]:
    """Return the readers by name, each with whole files to start from; `bundle` holds those of a bundle."""
    photo = {"n/images/a.png": _photo()}
    return {
        "packed images": (_images("n/i.npz"), {"n/i.npz": _packed_photos(), **_STEPS}),
        "coco": (_images("n/c.json"), {"n/c.json": _COCO, "n/a.png": _photo(), **_STEPS}),
        "yolo": (_images("n"), {**photo, **_YOLO, **_STEPS}),
        "masks": (_images("n"), {**photo, "n/masks/a.png": _photo("L"), **_STEPS}),
        "transformers folder": (_read_model, _text_folder(folder)),
        "program": (_read_model, {"p.pt2": _program(folder)}),
        "labels": (_read_labels, _LABELS),
        "decoding": (_read_decoding, _DECODINGS),
        "evaluation": (_read_evaluation, {"e.json": _EVALUATION}),
        "generation": (_read_generation, {"generation.json": _GENERATION}),
        "chat template": (_read_template, {"chat_template.jinja": _TEMPLATE}),
        "zip": (_read_archive, {"b.zip": _archive(".zip", folder, bundle), "e.zip": _escaping_zip()}),
        "tar": (_read_archive, {"b.tar.zst": _archive(".tar.zst", folder, bundle)}),
        "delta": (_apply_delta(folder), {"d.delta": _delta(folder)}),
        "deploy": (_deploy, dict(bundle)),
    }
