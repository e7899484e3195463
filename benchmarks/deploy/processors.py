"""Preprocessing that travels with bundles beside transformers' processors, on real inputs; a Markdown table.

    python -m benchmarks.deploy.processors --images FOLDER … --texts FILE --tokenizer FOLDER [--count 1000]

Images go through ViT's, CLIP's and DeiT's processors (Pillow's filters), texts through the tokenizer of a folder. Of images the
largest and mean difference in levels of 0…255 counts, of texts how many have other ids, masks or segments. `--in-graph` does
the same with the preprocessing that `edgeopt bundle --in-graph` puts into a graph: the files as they are, and as PNG, since its
decoder of JPEG is another than Pillow's.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from PIL import Image

from edgeopt.bundle.in_graph import INPUT, extensions_library, put_in_graph
from edgeopt.data.preprocessing import ImageInput
from edgeopt.device_code import inference
from edgeopt.graph import files

_HALF = [127.5, 127.5, 127.5]
_CLIP = ([122.7709383, 116.7460125, 104.09373615], [68.5005327, 66.6321579, 70.32316305])
_IMAGENET = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
_LEVELS = 1.0
"""Largest difference that is allowed: Pillow rounds fixed-point weights, the code of bundles floating-point ones."""


def kinds() -> Iterator[tuple[str, Any, ImageInput]]:
    """Yield name, processor of transformers and our preprocessing."""
    from transformers import CLIPImageProcessorPil, DeiTImageProcessorPil, ViTImageProcessorPil

    size = {"width": 224, "height": 224}
    yield "ViT: bilinear to 224×224", ViTImageProcessorPil(), ImageInput(**size, mean=_HALF, scale=_HALF)
    mean, scale = _CLIP
    clip = ImageInput(**size, shorter_edge=224, resample="bicubic", mean=mean, scale=scale)
    yield "CLIP: bicubic, shorter edge 224, crop", CLIPImageProcessorPil(), clip
    mean, scale = _IMAGENET
    deit = ImageInput(**size, resample="bicubic", mean=mean, scale=scale)
    yield "DeiT: bicubic to 224×224", _deit(DeiTImageProcessorPil, size), deit


def _deit(kind: Any, size: dict[str, int]) -> Any:
    means = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    return kind(size=size, do_center_crop=False, resample=Image.Resampling.BICUBIC, **means)


def image_differences(paths: list[Path]) -> Iterator[tuple[str, int, float, float, float]]:
    """Yield name, images, largest and mean difference in levels, and share of equal values, of each kind."""
    images = inference("images")
    for name, processor, steps in kinds():
        largest, total, equal = 0.0, 0.0, 0.0
        for path in paths:
            pixels = images.read_pixels(str(path))
            ours = images.image_input(pixels, steps.model_dump())[0][0]
            theirs = processor(Image.fromarray(pixels), return_tensors="np")["pixel_values"][0]
            scale = np.array(steps.scale, np.float32).reshape(-1, 1, 1)
            levels = np.abs(ours - theirs) * scale
            largest, total = max(largest, float(levels.max())), total + float(levels.mean())
            equal += float((levels < 1e-2).mean())
        yield name, len(paths), largest, total / len(paths), equal / len(paths)


def graph_differences(paths: list[Path]) -> Iterator[tuple[str, int, float, float, float]]:
    """Yield the same of the preprocessing in a graph, for the files and for the same pixels as PNG."""
    images = inference("images")
    for name, processor, steps in kinds():
        session = in_graph(steps)
        for form in ("file", "PNG"):
            largest, total, equal = 0.0, 0.0, 0.0
            for path in paths:
                pixels = images.read_pixels(str(path))
                content = path.read_bytes() if form == "file" else png(pixels)
                ours = session.run(None, {INPUT: np.frombuffer(content, np.uint8)})[0][0]
                theirs = processor(Image.fromarray(pixels), return_tensors="np")["pixel_values"][0]
                levels = np.abs(ours - theirs) * np.array(steps.scale, np.float32).reshape(-1, 1, 1)
                largest, total = max(largest, float(levels.max())), total + float(levels.mean())
                equal += float((levels < 1e-2).mean())
            yield f"{name}, in the graph, {form}", len(paths), largest, total / len(paths), equal / len(paths)


def in_graph(steps: ImageInput) -> Any:
    """Return a session whose graph is the preprocessing alone."""
    import onnxruntime as ort

    shape = f"float[1, 3, {steps.height}, {steps.width}]"
    copy = ir.from_onnx_text(f'<ir_version: 10, opset_import: ["" : 20]> g ({shape} x) => ({shape} y) {{ y = Identity (x) }}')
    options = ort.SessionOptions()
    options.register_custom_ops_library(extensions_library())
    return ort.InferenceSession(files.serialized(put_in_graph(copy, steps)), options, providers=["CPUExecutionProvider"])


def png(pixels: Any) -> bytes:
    """Return an image as PNG."""
    place = io.BytesIO()
    Image.fromarray(pixels).save(place, "PNG", compress_level=1)
    return place.getvalue()


def text_differences(texts: list[str], folder: Path, length: int = 64) -> int:
    """Return how many texts have other ids, masks or segments than by transformers."""
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder)
    ours = inference("text").Tokenizer(str(folder / "tokenizer.json"), length)
    different = 0
    for text in texts:
        wanted = theirs(text, truncation=True, max_length=length)
        found = ours.encode(text)
        types = wanted.get("token_type_ids", found.types)
        different += found.ids != wanted["input_ids"] or found.types != types
    return different


def main() -> int:
    """Print the table; return 1 if something is further apart than allowed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--images", nargs="*", type=Path, default=[])
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--in-graph", action="store_true")
    parser.add_argument("--count", type=int, default=1000)
    options = parser.parse_args()
    failed = False
    print("| processor | inputs | largest difference, levels | mean | equal |\n|---|---|---|---|---|")
    suffixes = {".jpg", ".jpeg", ".png"}
    paths = [path for folder in options.images for path in sorted(folder.rglob("*")) if path.suffix.lower() in suffixes]
    if paths:
        differences = graph_differences if options.in_graph else image_differences
        for name, count, largest, mean, equal in differences(paths[: options.count]):
            print(f"| {name} | {count} | {largest:.3f} | {mean:.5f} | {equal:.3%} |", flush=True)
            failed |= largest > _LEVELS + 1e-3 and not name.endswith(", file")
    if options.texts is not None:
        texts = [line for line in options.texts.read_text(encoding="utf-8").splitlines() if line.strip()][: options.count]
        different = text_differences(texts, options.tokenizer)
        print(f"| tokenizer of {options.tokenizer.name} | {len(texts)} | {different} differ | | |")
        failed |= bool(different)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
