"""A text recogniser of lines of any width: how many lines int8 reads as floating point does, by way of choosing ranges.

    python -m benchmarks.quantize.recogniser --work FOLDER [--seconds 60] [--targets x86-vnni …]

MobileNet-like (depthwise convolutions, HardSwish), trained here on lines drawn with PIL's own font, first column by column,
since it is known where each letter stands, then with CTC: noise, blur, shades and widths differ. Calibrated on 32 lines, one
by one; judged on 400 others, a line being right if every character is.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import nn

import edgeopt
from edgeopt.quantize import QuantizeConfig

_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
_HEIGHT = 32
_BY_COLUMN = 0.6  # of the time, before CTC takes over
_WAYS = ("auto", "min-max", "percentile", "mse")
_STRIDE = 4  # pixels to a column of the output


@dataclass(frozen=True)
class Line:
    """An image [1, 32, width], its letters, and the letter (counted from 1; 0: none) that stands at each column."""

    image: NDArray[np.float32]
    text: str
    columns: NDArray[np.int64]


def drawn(random: np.random.Generator) -> Line:
    """Return a line of a few letters."""
    text = "".join(random.choice(list(_LETTERS), random.integers(3, 9)))
    font = ImageFont.load_default(size=int(random.integers(18, 27)))
    width = int(font.getlength(text)) + int(random.integers(8, 24))
    paper, ink = sorted(random.integers(0, 256, 2))[:: int(random.choice([-1, 1]))]
    if abs(int(paper) - int(ink)) < 70:
        paper, ink = 235, 20
    image, left = (
        Image.new("L", (width, _HEIGHT), int(paper)),
        int(random.integers(2, 7)),
    )
    ImageDraw.Draw(image).text((left, int(random.integers(0, 6))), text, fill=int(ink), font=font)
    columns = np.zeros(-(-width // _STRIDE), np.int64)
    for place, letter in enumerate(text):
        start, end = (left + font.getlength(text[:stop]) for stop in (place, place + 1))
        middle = int((start + end) / 2 / _STRIDE)
        columns[middle : middle + 1] = _LETTERS.index(letter) + 1
    image = image.filter(ImageFilter.GaussianBlur(float(random.uniform(0, 0.9))))
    values = np.asarray(image, np.float32) + random.normal(0, random.uniform(0, 14), (_HEIGHT, width))
    return Line(((values[None] - 127.5) / 127.5).astype(np.float32), text, columns)


class Recogniser(nn.Module):
    """Convolutions that halve the height four times and the width twice, then one product per column."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [*_conv(1, 24, 3, (2, 2))]
        for given, made, stride in (
            (24, 40, (2, 2)),
            (40, 72, (2, 1)),
            (72, 104, (2, 1)),
            (104, 136, (2, 1)),
        ):
            layers += [
                *_conv(given, given, 3, (1, 1), groups=given),
                *_conv(given, made, 1, (1, 1)),
            ]
            layers += _conv(made, made, (3, 5), stride, groups=made)
        self.body = nn.Sequential(*layers)
        self.head = nn.Conv2d(136, len(_LETTERS) + 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits [samples, columns, letters + 1] of images [samples, 1, 32, width]."""
        columns = self.head(self.body(x)).mean(dim=2)
        return columns.transpose(1, 2)


def _conv(
    given: int,
    made: int,
    kernel: int | tuple[int, int],
    stride: tuple[int, int],
    groups: int = 1,
) -> list[nn.Module]:
    size = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (size[0] // 2, size[1] // 2)
    return [
        nn.Conv2d(given, made, size, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(made),
        nn.Hardswish(),
    ]


def trained(seconds: float) -> Recogniser:
    """Return a recogniser trained for so long."""
    torch.manual_seed(0)
    random, model = np.random.default_rng(0), Recogniser()
    pool = [drawn(random) for _ in range(4000)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-4)
    loss = nn.CTCLoss(zero_infinity=True)
    begin, step = time.process_time(), 0
    while (share := (time.process_time() - begin) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 50) * (1 - share)
        lines = [pool[index] for index in random.integers(0, len(pool), 24)]
        widest = max(line.image.shape[-1] for line in lines)
        padded = [
            np.pad(
                line.image,
                [(0, 0), (0, 0), (0, widest - line.image.shape[-1])],
                mode="edge",
            )
            for line in lines
        ]
        logits = model(torch.from_numpy(np.stack(padded))).log_softmax(2)
        if share < _BY_COLUMN:
            places = np.stack([np.pad(line.columns, (0, logits.shape[1] - len(line.columns))) for line in lines])
            weight = torch.ones(logits.shape[2])
            weight[0] = 0.15
            value = nn.functional.nll_loss(logits.flatten(0, 1), torch.from_numpy(places).flatten(), weight)
        else:
            wanted = torch.tensor([_LETTERS.index(letter) + 1 for line in lines for letter in line.text])
            lengths = torch.tensor([len(line.text) for line in lines])
            value = loss(
                logits.transpose(0, 1),
                wanted,
                torch.full((len(lines),), logits.shape[1]),
                lengths,
            )
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        step += 1
    print(f"trained {step} steps, last loss {value.item():.3f}", flush=True)
    return model.eval()


def read(path: Path, lines: Sequence[Line]) -> list[str]:
    """Return what a model reads."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    found = []
    for line in lines:
        best = session.run(None, {"x": line.image[None]})[0][0].argmax(axis=1)
        kept = [int(item) for place, item in enumerate(best) if item and (place == 0 or item != best[place - 1])]
        found.append("".join(_LETTERS[item - 1] for item in kept))
    return found


def right(path: Path, lines: Sequence[Line]) -> float:
    """Return the share of lines that a model reads right."""
    return float(np.mean([said == line.text for said, line in zip(read(path, lines), lines, strict=True)]))


def main() -> None:
    """Train once, quantize in every way, and print the share of lines that are read right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=60.0, help="of processor time to train for")
    parser.add_argument("--targets", nargs="+", default=["x86-vnni", "arm64"])
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    path = arguments.work / "recogniser.onnx"
    if not path.is_file():
        dims = (
            {
                0: torch.export.Dim("batch"),
                3: torch.export.Dim("width", min=16, max=4096),
            },
        )
        program = torch.onnx.export(
            trained(arguments.seconds),
            (torch.zeros(2, 1, _HEIGHT, 96),),
            dynamo=True,
            opset_version=20,
            dynamic_shapes=dims,
            input_names=["x"],
            output_names=["logits"],
            verbose=False,
        )
        program.save(path)
    random = np.random.default_rng(1)
    calibration = [{"x": drawn(random).image[None]} for _ in range(32)]
    lines = [drawn(random) for _ in range(400)]
    print("| ranges | target | lines read right | SQNR | chosen |\n|---|---|---|---|---|")
    print(f"| fp32 | | {right(path, lines):.1%} | | |", flush=True)
    for target in arguments.targets:
        for way in _WAYS:
            output = arguments.work / f"recogniser.{target}.{way}.onnx"
            config = QuantizeConfig.read({"ranges": way}, where="benchmark")
            facts = edgeopt.quantize(
                path,
                calibration,
                target=edgeopt.load_target(target),
                output=output,
                config=config,
            ).facts
            chosen = "; ".join(item.choice for item in facts.decisions if item.what in {"ranges chosen", "floating layers"})
            print(
                f"| {way} | {target} | {right(output, lines):.1%} | {facts.outputs_db:.1f} dB | {chosen} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
