"""Small torch modules of every kind through `edgeopt.export`: what exports, what is refused, what breaks.

Each module is exported for a target, which compares it with PyTorch on samples of several shapes; a refusal must be one line
that names what to do (`ModelError`), and the file must load again without its value_info. Anything else is a fault.

    python -m benchmarks.sweep.modules                 all of them, one line each; exit 1 if there is a fault
    python -m benchmarks.sweep.modules lstm attention  those whose name holds one of the words
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn import functional

from benchmarks.sweep.zoo import (
    Attending,
    Bag,
    Branching,
    Cells,
    Conditional,
    Decoder,
    Encoder,
    Integers,
    Looping,
    Nested,
    OneHot,
    Positions,
    Pyramid,
    Run,
    Stacked,
    Two,
    WithState,
    norm,
)
from edgeopt.errors import ModelError
from edgeopt.export import ExportConfig, export
from edgeopt.graph.session import SessionConfig, open_session
from edgeopt.targets.target import load_target

Batch = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A module, how to make samples for it, and what is to come of it.

    Attributes:
        make: the module.
        inputs: shapes by input name; "b" is the batch, "t" a second axis that varies; or a function of (b, t, generator).
        refused: part of the message if the module is to be refused; "" if it is to be exported.
        options: of the export.
    """

    make: Callable[[], nn.Module]
    inputs: Mapping[str, Sequence[int | str] | Callable[..., Any]]
    refused: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


def tokens(vocabulary: int) -> Callable[..., Any]:
    """Return a maker of token ids [b, t]."""
    return lambda b, t, rng: rng.integers(0, vocabulary, (b, t))


def mask(b: int, t: int, _: np.random.Generator) -> Any:
    """Return a boolean mask [b, t] whose last row hides its end."""
    made = np.zeros((b, t), dtype=bool)
    made[-1, max(1, t - 2) :] = True
    return made


def one(
    run: Callable[..., Any], *shape: int | str, refused: str = "", options: Mapping[str, Any] | None = None, **parts: Any
) -> Case:
    """Return a case of one float input called x."""
    return Case(lambda: Run(run, **{name: make() for name, make in parts.items()}), {"x": shape}, refused, options or {})


SEQUENCE = ("b", "t", 8)
IMAGE = ("b", 4, 12, 12)


def resized(**options: Any) -> Callable[..., Any]:
    """Return an interpolation of x."""
    return lambda x: functional.interpolate(x, **options)


CASES: dict[str, Case] = {
    # recurrent
    "lstm": one(lambda x, r: r(x)[0], *SEQUENCE, r=lambda: nn.LSTM(8, 6, batch_first=True)),
    "lstm both ways, two layers": one(norm, *SEQUENCE, r=lambda: nn.LSTM(8, 6, 2, batch_first=True, bidirectional=True)),
    "gru without biases": one(norm, *SEQUENCE, r=lambda: nn.GRU(8, 6, batch_first=True, bias=False)),
    "rnn relu": one(norm, *SEQUENCE, r=lambda: nn.RNN(8, 6, batch_first=True, nonlinearity="relu")),
    "lstm and gru, states in a dict": Case(Stacked, {"x": SEQUENCE}),
    "lstm with its state": Case(
        WithState,
        {"x": SEQUENCE, "state.0": (1, "b", 6), "state.1": (1, "b", 6)},
        options={"axes": {"x": {0: "batch", 1: "time"}, "state.0": {1: "batch"}, "state.1": {1: "batch"}}},
    ),
    "lstm, last step": one(lambda x, r: r(x)[0][:, -1], *SEQUENCE, r=lambda: nn.LSTM(8, 6, batch_first=True)),
    "gru on a flipped sequence": one(lambda x, r: r(x.flip(1))[0].flip(1), *SEQUENCE, r=lambda: nn.GRU(8, 6, batch_first=True)),
    "lstm with projections": one(norm, *SEQUENCE, refused="proj_size", r=lambda: nn.LSTM(8, 6, batch_first=True, proj_size=3)),
    "cells in a loop": Case(Cells, {"x": ("b", 4, 8)}),
    # attention and masks
    "encoder with padding": Case(Encoder, {"x": SEQUENCE, "padding": mask}),
    "encoder, norm first, gelu": Case(lambda: Encoder(norm_first=True, activation="gelu"), {"x": SEQUENCE, "padding": mask}),
    "encoder with padding, opset 20": Case(Encoder, {"x": SEQUENCE, "padding": mask}, options={"opset": 20}),
    "decoder with a causal mask": Case(Decoder, {"x": SEQUENCE, "y": ("b", 5, 8)}),
    "attention with its weights": Case(lambda: Attending(weights=True), {"x": SEQUENCE, "padding": mask}),
    "attention with bias_kv and zero": Case(
        lambda: Attending(add_bias_kv=True, add_zero_attn=True), {"x": SEQUENCE, "padding": mask}
    ),
    "attention, causal": one(
        lambda x: functional.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None], is_causal=True), *SEQUENCE
    ),
    "attention on three axes": one(lambda x: functional.scaled_dot_product_attention(x, x, x), *SEQUENCE),
    "attention by einsum": one(
        lambda x: torch.einsum("bij,bjd->bid", torch.einsum("bid,bjd->bij", x, x).softmax(-1), x), *SEQUENCE
    ),
    "attention with a relative bias": one(
        lambda x, e: functional.scaled_dot_product_attention(
            x[:, None],
            x[:, None],
            x[:, None],
            attn_mask=e(torch.arange(x.shape[1])[:, None] - torch.arange(x.shape[1])[None] + 16).squeeze(-1),
        ),
        *SEQUENCE,
        e=lambda: nn.Embedding(40, 1),
    ),
    # nested inputs and outputs
    "nested in and out": Case(
        Nested, {"features.a": ("b", 3), "features.b": ("b", 3), "scales.0": ("b", 1), "scales.1": ("b", 1)}
    ),
    "an output called as the input": one(lambda x: {"x": x * 2, "y": x}, *SEQUENCE),
    "one tensor three times": one(lambda x: (x, x, x + 0), *SEQUENCE),
    "a max with its places": one(lambda x: x.max(1), *SEQUENCE),
    "a list of feature maps": Case(Pyramid, {"x": IMAGE}),
    "a constant among the outputs": one(lambda x: (x.relu(), torch.arange(4)), *SEQUENCE),
    # integers
    "token and position embeddings": Case(Positions, {"ids": tokens(30)}),
    "embedding bag, mean": Case(lambda: Bag("mean"), {"ids": tokens(20)}),
    "embedding bag, sum": Case(lambda: Bag("sum"), {"ids": tokens(20)}),
    "embedding bag, max": Case(lambda: Bag("max"), {"ids": tokens(20)}),
    "one hot and cumulated": Case(OneHot, {"ids": tokens(12)}),
    "bucketized": one(lambda x: torch.bucketize(x, torch.tensor([-1.0, 0.0, 1.0])), *SEQUENCE),
    "integer arithmetic": Case(Integers, {"ids": tokens(50)}),
    # convolutions
    "conv1d, dilated, causal": one(
        lambda x, c: c(functional.pad(x.transpose(1, 2), (4, 0))), *SEQUENCE, c=lambda: nn.Conv1d(8, 8, 3, dilation=2)
    ),
    "conv2d, reflect padding": one(norm, *IMAGE, c=lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect")),
    "conv2d, circular, grouped": one(norm, *IMAGE, c=lambda: nn.Conv2d(4, 8, 3, padding=1, padding_mode="circular", groups=2)),
    "conv3d": one(norm, "b", 2, 5, 6, 6, c=lambda: nn.Conv3d(2, 3, 3, padding="same")),
    "conv transpose, grouped": one(norm, *IMAGE, c=lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2)),
    "conv transpose 1d": one(lambda x, c: c(x.transpose(1, 2)), *SEQUENCE, c=lambda: nn.ConvTranspose1d(8, 4, 4, 2)),
    "unfold and fold": one(lambda x: functional.fold(functional.unfold(x, 3, stride=3), (12, 12), 3, stride=3), *IMAGE),
    "pixel shuffle both ways": one(lambda x: functional.pixel_unshuffle(functional.pixel_shuffle(x, 2), 3), *IMAGE),
    "weight norm": one(norm, *IMAGE, c=lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 6, 3))),
    "spectral norm": one(norm, "b", 8, c=lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(8, 6))),
    # normalisations and pooling
    "batch, group and instance norm": one(
        lambda x, a, b, c: c(b(a(x))),
        *IMAGE,
        a=lambda: nn.BatchNorm2d(4),
        b=lambda: nn.GroupNorm(2, 4),
        c=lambda: nn.InstanceNorm2d(4, affine=True),
    ),
    "layer norm over two axes": one(norm, "b", 5, 8, n=lambda: nn.LayerNorm((5, 8))),
    "rms norm": one(norm, *SEQUENCE, n=lambda: nn.RMSNorm(8)),
    "local response norm": one(norm, *IMAGE, n=lambda: nn.LocalResponseNorm(3)),
    "normalize and cosine": one(
        lambda x: (functional.normalize(x, dim=-1), functional.cosine_similarity(x, x + 1, dim=-1)), *SEQUENCE
    ),
    "adaptive pools": one(lambda x: (functional.adaptive_avg_pool2d(x, (3, 4)), functional.adaptive_max_pool2d(x, 1)), *IMAGE),
    "adaptive pool, uneven": one(lambda x: functional.adaptive_avg_pool2d(x, 5), *IMAGE),
    "max pool with places, unpooled": one(
        lambda x: functional.max_unpool2d(*functional.max_pool2d(x, 2, return_indices=True), 2), *IMAGE
    ),
    "lp pool, average without padding": one(
        lambda x: (functional.lp_pool2d(x, 2, 3), functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False)), *IMAGE
    ),
    # interpolation
    "bilinear twice as large": one(resized(scale_factor=2.0, mode="bilinear", align_corners=False), *IMAGE),
    "bilinear, corners aligned": one(resized(size=(7, 9), mode="bilinear", align_corners=True), *IMAGE),
    "bicubic, smaller": one(resized(size=(5, 7), mode="bicubic"), *IMAGE),
    "nearest exact": one(resized(size=(17, 5), mode="nearest-exact"), *IMAGE),
    "area": one(resized(size=(4, 6), mode="area"), *IMAGE),
    "trilinear": one(resized(scale_factor=2.0, mode="trilinear"), "b", 2, 3, 4, 5),
    "bilinear, antialiased": one(resized(size=(5, 5), mode="bilinear", antialias=True), *IMAGE),
    "grid sample": Case(
        lambda: Two(lambda x, y: functional.grid_sample(x, y.tanh(), align_corners=False)), {"x": IMAGE, "y": ("b", 5, 6, 2)}
    ),
    "affine grid": Case(
        lambda: Two(
            lambda x, y: functional.grid_sample(
                x, functional.affine_grid(y, list(x.shape), align_corners=False), align_corners=False
            )
        ),
        {"x": IMAGE, "y": ("b", 2, 3)},
    ),
    # indexing and ordering
    "sorted, topk, gathered": one(lambda x: (x.sort(1)[0], x.topk(2, -1)[0], x.gather(1, x.argsort(1)[:, :3])), *SEQUENCE),
    "scattered": one(lambda x: torch.zeros_like(x).scatter_add(1, (x > 0).long(), x), *SEQUENCE),
    "index put": one(lambda x: x.index_put((torch.tensor([0]), torch.tensor([1])), torch.tensor(5.0)), *SEQUENCE),
    "rolled and tiled": one(lambda x: x.roll(1, 1).repeat(1, 2, 1), *SEQUENCE),
    "a running maximum": one(lambda x: x.cummax(1)[0], *SEQUENCE, refused="cummax has no ONNX form"),
    "a running product": one(lambda x: x.cumprod(1), *SEQUENCE, refused="has no ONNX form"),
    "median": one(lambda x: x.median(-1)[0], *SEQUENCE),
    "triangles": one(lambda x: x @ torch.ones(8, 8).tril(-1) + torch.diag_embed(x).sum(-1), *SEQUENCE),
    "variance and norms": one(
        lambda x: (x.var(1), x.std(-1, correction=0), x.norm(dim=-1), torch.linalg.vector_norm(x, 3, dim=1)), *SEQUENCE
    ),
    "nonzero": one(lambda x: x.nonzero(), *SEQUENCE),
    # numbers
    "special functions": one(
        lambda x: (torch.erf(x), torch.special.expit(x), torch.log1p(x.abs()), torch.expm1(x), torch.atan2(x, x + 1), x.sinc()),
        *SEQUENCE,
    ),
    "activations": one(
        lambda x: (
            functional.glu(x),
            functional.mish(x),
            functional.hardswish(x),
            functional.celu(x),
            functional.softshrink(x),
            functional.logsigmoid(x),
            functional.rrelu(x),
        ),
        *SEQUENCE,
    ),
    "a guard of 1e-12": one(lambda x: x / (x.pow(2).sum(-1, keepdim=True) + 1e-12), *SEQUENCE),
    "logarithm of sums": one(
        lambda x: (torch.logsumexp(x, -1), functional.log_softmax(x, 1), torch.logcumsumexp(x, 1)), *SEQUENCE
    ),
    "distances": one(lambda x: (torch.cdist(x, x + 1), (x - x.mean(1, keepdim=True)).clamp(-1, 1)), *SEQUENCE),
    "half inside": one(lambda x: (x.half() * 2).float() + x.double().mean().float(), *SEQUENCE, options={"tolerance": 1e-3}),
    "spectrum": one(lambda x: torch.view_as_real(torch.fft.rfft(x, dim=-1)), *SEQUENCE),
    "short-time spectrum": one(
        lambda x: torch.stft(x, 16, 8, window=torch.hann_window(16), return_complex=True).abs(), "b", 64
    ),
    "an inverse": one(
        lambda x: torch.linalg.inv(x @ x.transpose(1, 2) + torch.eye(4)), "b", 4, 4, refused="linalg_inv_ex has no ONNX form"
    ),
    "einsum with a diagonal": one(lambda x: torch.einsum("bii->bi", x), "b", 4, 4),
    # control flow and training leftovers
    "torch.cond": Case(Conditional, {"x": SEQUENCE}),
    "an if over values": Case(Branching, {"x": SEQUENCE}, refused="control flow depends on the values"),
    "a loop over a dynamic axis": Case(Looping, {"x": SEQUENCE}, refused="axis 1"),
    "dropout that is always on": one(lambda x: functional.dropout(x, 0.5), *SEQUENCE),
    "fake quantizers": Case(
        lambda: nn.Sequential(nn.Linear(8, 8), torch.ao.quantization.FakeQuantize()),
        {"input": ("b", 8)},
        refused="FakeQuantize",
    ),
    "random numbers": one(lambda x: x + torch.randn_like(x), *SEQUENCE, refused="random"),
}


def samples(case: Case) -> list[Batch]:
    """Return three batches of different sizes."""
    rng = np.random.default_rng(0)
    made = []
    for b, t in ((2, 7), (3, 5), (1, 9)):
        sizes = {"b": b, "t": t}
        batch: Batch = {}
        for name, shape in case.inputs.items():
            if callable(shape):
                batch[name] = shape(b, t, rng)
            else:
                batch[name] = rng.normal(size=[sizes[size] if isinstance(size, str) else size for size in shape]).astype(
                    np.float32
                )
        made.append(batch)
    return made


def judge(case: Case, folder: Path) -> tuple[bool, str]:
    """Export the case into `folder`; return whether that went as it should, and a line that says how."""
    torch.manual_seed(0)
    model = case.make().eval()
    try:
        result = export(
            model,
            samples(case),
            target=load_target("x86-vnni"),
            output=folder,
            config=ExportConfig.read(dict(case.options), where="the sweep"),
        )
    except ModelError as error:
        text = str(error)
        return bool(case.refused) and case.refused in text and "\n" not in text, f"refused: {text[:240]}"
    except Exception as error:  # noqa: BLE001  (whatever it is, it is a fault, and the sweep goes on)
        return False, f"{type(error).__name__}: {str(error).splitlines()[0][:240] if str(error) else ''}"
    bare = onnx.load(result.path)
    del bare.graph.value_info[:]
    try:
        open_session(bare.SerializeToString(), config=SessionConfig(optimization="none"))
    except ModelError as error:
        return False, f"does not load without value_info: {error}"
    facts = f"{result.nodes} nodes, error {result.parity.relative_error:.1e}"
    return not case.refused, "; ".join([facts, *result.warnings])


def chosen(words: Sequence[str]) -> Iterator[tuple[str, Case]]:
    """Yield the cases whose name holds one of the `words`; without words all of them."""
    for name, case in CASES.items():
        if not words or any(word in name for word in words):
            yield name, case


def main() -> int:
    """Run the sweep, one line each; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="only cases whose name holds one of these words")
    faults = 0
    for name, case in chosen(parser.parse_args().words):
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="edgeopt-sweep-") as folder:
            good, line = judge(case, Path(folder))
        faults += not good
        print(f"{'ok   ' if good else 'FAULT'} {name}: {line} ({time.perf_counter() - begin:.1f} s)", flush=True)
    print(f"{faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
