"""Answers on the command line: python -m app INPUT… [--json] [--draw FOLDER] [--golden]."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from app import bundle, predict


def main() -> int:
    """Print one answer for each input; return 1 if one failed, or if a golden answer is another than recorded."""
    parser = argparse.ArgumentParser(prog="app", description="@@NAME@@: @@TASK@@.")
    parser.add_argument("inputs", nargs="*", help="files, folders of files, or texts")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")
    parser.add_argument("--draw", type=Path, metavar="FOLDER", help="write each image with its boxes to this folder")
    parser.add_argument("--golden", action="store_true", help="put the bundle's golden raw inputs through the app")
    options = parser.parse_args()
    if options.golden:
        return golden()
    if not options.inputs:
        parser.error("give a file, a folder or a text")
    failed = False
    for raw in expanded(options.inputs):
        shown = raw if isinstance(raw, str) else " / ".join(raw)
        try:
            answer = predict(raw)
        except ValueError as error:
            print(f"{shown}: {str(error).removeprefix(f'{shown}: ')}", file=sys.stderr)
            failed = True
            continue
        values = {"input": raw, "answer": answer}
        print(json.dumps(values, ensure_ascii=False) if options.json else f"{shown}: {in_words(answer)}")
        if options.draw and answer["kind"] == "boxes":
            draw(raw, answer, options.draw)
    return int(failed)


def expanded(inputs: list[str]) -> list[Any]:
    """Return the inputs with folders replaced by their files; two texts are one input for a model of pairs."""
    if bundle().steps["kind"] == "tokenizer":
        return [inputs] if bundle().steps.get("pair") else list(inputs)
    found: list[Any] = []
    for name in inputs:
        path = Path(name)
        found += sorted(str(file) for file in path.iterdir() if file.is_file()) if path.is_dir() else [name]
    return found


def in_words(answer: dict[str, Any]) -> str:
    """Return an answer as one line."""
    kind = answer["kind"]
    if kind in ("classes", "labels"):
        return ", ".join(f"{entry['label']} {entry['score']:.3f}" for entry in answer["classes"]) or "none"
    if kind == "boxes":
        return (
            "; ".join(f"{box['label']} {box['score']:.2f} {[round(edge) for edge in box['box']]}" for box in answer["boxes"])
            or "none"
        )
    if kind == "spans":
        return "; ".join(f"{span['label']}: {span['text']}" for span in answer["spans"]) or "none"
    if kind in ("text", "answer"):
        return str(answer["text"])
    if kind == "embedding":
        return f"{len(answer['vector'])} numbers: {', '.join(f'{number:.4f}' for number in answer['vector'][:4])}, …"
    if kind == "segmentation":
        return ", ".join(f"{entry['label']} {100 * entry['share']:.1f} %" for entry in answer["classes"])
    if kind == "value":
        return ", ".join(f"{name} {value}" for name, value in answer["values"].items())
    return ", ".join(f"{name} {array['dtype']}{array['shape']}" for name, array in answer["arrays"].items())


def draw(path: str, answer: dict[str, Any], folder: Path) -> None:
    """Write the image at `path` with its boxes into `folder`."""
    from PIL import Image, ImageDraw

    from app.inference.images import read_pixels

    folder.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(read_pixels(path))
    pen = ImageDraw.Draw(image)
    for box in answer["boxes"]:
        pen.rectangle(box["box"], outline=(255, 64, 64), width=max(2, image.width // 300))
        pen.text((box["box"][0] + 3, box["box"][1] + 2), f"{box['label']} {box['score']:.2f}", fill=(255, 255, 255))
    image.save(folder / (Path(path).stem + ".png"))


def golden() -> int:
    """Put the golden raw inputs through `predict` and compare the answers."""
    from app.inference.golden import check_raw

    count = len(bundle().manifest["golden"].get("raw", []))
    problems = check_raw(bundle(), predict)
    for problem in problems:
        print(f"failed: {problem}")
    print(f"{count - len(problems)} of {count} golden raw inputs give the recorded answer")
    return int(bool(problems) or not count)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:  # the caller reads no more answers
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
