"""Fuzz every reader of files: damaged and crafted ones are read, or refused in one line with exit code 1 or 2.

    python -m benchmarks.sweep.readers --seconds 120 --only npz wav

Each reader starts from whole files and gets them mutated: bits flipped, cut, repeated, spliced, numbers and texts of their
headers exchanged for nasty ones, folders in their place. What is neither read nor refused properly is printed with the file
that shows it, and the exit code is 1. A limit on memory and a time per file catch what allocates or hangs. Times are those of
the processor, so that a busy machine neither shortens the sweep nor makes a reader slow; the clock catches one that waits.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
import wave
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from PIL import Image

from benchmarks.sweep import folders
from benchmarks.sweep.bundles import bundle_files, read_bundle
from edgeopt.data.samples import Samples
from edgeopt.data.source import Reader, open_source
from edgeopt.documents import read_bytes
from edgeopt.errors import DataError, EdgeoptError
from edgeopt.graph import files

_MEMORY = 6 << 30  # bytes of address space
_SECONDS_PER_FILE = 20  # of the processor
_CLOCK_SECONDS_PER_FILE = 600
_KEPT = Path("build/sweep")
_NASTY = [
    *[b"-1", b"0", b"1e999", b"NaN", b"99999999999999999999", b"null", b"true", b"1.5", b"[]", b"{}", b'"x"', b"[[[[[[[["],
    *[b"\x00", b"\xff\xfe", b'"\\ud800"', b"'|O'", b"'<f4'", b"[('a','<f4')]", b"(1000000000000,)", b"(-1,)", b"()"],
]


@dataclass(frozen=True)
class Target:
    """A reader, and whole files to start from, by their names."""

    read: Callable[[Path], object]
    seeds: Mapping[str, bytes]


def mutated(content: bytes, generator: random.Random) -> bytes:
    """Return the content with one to four changes."""
    changed = bytearray(content)
    for _ in range(generator.randint(1, 4)):
        kind, place = generator.randrange(7), generator.randrange(max(len(changed), 1))
        if kind == 0 and changed:
            changed[place] ^= 1 << generator.randrange(8)
        elif kind == 1:
            del changed[place:]
        elif kind == 2:
            end = place + generator.randint(1, 64)
            changed[place:place] = changed[place:end] * generator.choice([1, 2, 50])
        elif kind == 3:
            del changed[place : place + generator.randint(1, 32)]
        elif kind == 4 and changed:
            width = generator.choice([1, 2, 4, 8])
            changed[place : place + width] = generator.choice([b"\x00", b"\xff", b"\x7f", b"\x80"]) * width
        elif kind == 5:
            _exchange(changed, generator)
        else:
            changed[place:place] = generator.choice(_NASTY)
    return bytes(changed)


def _exchange(changed: bytearray, generator: random.Random) -> None:
    """Exchange one number or quoted text of the content for a nasty one, or nest it deeply."""
    tokens = list(re.finditer(rb'-?\d+(\.\d+)?|"[^"]{0,40}"|\'[^\']{0,40}\'', bytes(changed)))
    if tokens:
        token = generator.choice(tokens)
        deep = b"[" * 100_000 if generator.random() < 0.05 else None
        changed[token.start() : token.end()] = deep or generator.choice(_NASTY)


def _all(samples: Samples) -> None:
    for index in range(min(len(samples), 64)):
        samples[index]


def _source(query: str = "", *inputs: str) -> Callable[[Path], object]:
    return lambda path: _all(open_source(f"{path}{query}", Reader(inputs or ("x",))))


def _npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _packed(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _objects() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        inner = io.BytesIO()
        np.save(inner, np.array([{"a": 1}], dtype=object), allow_pickle=True)
        archive.writestr("x.npy", inner.getvalue())
    return buffer.getvalue()


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _wav(width: int) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(width)
        sound.setframerate(8000)
        sound.writeframes(bytes(range(240)))
    return buffer.getvalue()


def _image(form: str) -> bytes:
    buffer = io.BytesIO()
    values = np.random.default_rng(0).integers(0, 255, (12, 10, 3)).astype(np.uint8)
    Image.fromarray(values).save(buffer, form)
    return buffer.getvalue()


def _onnx() -> bytes:
    head = '<ir_version: 8, opset_import: ["" : 17]>'
    text = "g (float[n, 4] x) => (float[n, 4] y) <float[4] w = {1, 2, 3, 4}> { y = Add (x, w) }"
    return bytes(onnx.parser.parse_model(f"{head} {text}").SerializeToString())


def _read_onnx(path: Path) -> object:
    return files.signature(files.load(path))


def _read_plan(path: Path) -> object:
    from edgeopt.quantize.plan.plan import load_plan

    return load_plan(path)


def _read_profile(path: Path) -> object:
    from edgeopt.profile.became_worse import compare, read_profile

    profile = read_profile(path)
    return compare(profile, profile)


def _read_run(path: Path) -> object:
    from edgeopt.report.record import RunRecord

    return RunRecord.from_json(read_bytes(path, error=DataError, what="a run record"), where=str(path))


def _read_report(path: Path) -> object:
    from edgeopt.report.json import from_json

    return from_json(read_bytes(path, error=DataError, what="a report"), where=str(path))


def _read_target(path: Path) -> object:
    from edgeopt.targets.target import load_target

    return load_target(str(path))


def _read_recipe(path: Path) -> object:
    from edgeopt.recipe import load_recipe

    return load_recipe(str(path))


def _read_set(path: Path) -> object:
    from edgeopt.data.sets import load_set

    np.savez(path.parent / "s.npz", x=np.ones((3, 2), np.float32))
    return load_set(f"{path.parent}/")


def _read_image_input(path: Path) -> object:
    from edgeopt.data.preprocessing import read_image_input

    return read_image_input(path, "images")


def _read_cache(path: Path) -> object:
    from edgeopt.quantize.calibrate.stored import read_progress

    return read_progress(path)


def _read_model(path: Path) -> object:
    from edgeopt.models.load import load_model

    return load_model(path.parent)


def _read_sentences(path: Path) -> object:
    from edgeopt.data.text import _split

    return _split(path)


def _read_tokenizer(path: Path) -> object:
    from edgeopt.data.text import TextOptions, tokenized

    return _all(tokenized(["a film"], None, path, TextOptions(), made_from=""))


def _tokenizer() -> bytes:
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({"?": 0, "a": 1, "film": 2}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made.to_str().encode()


def _cache(folder: Path) -> bytes:
    from edgeopt.quantize.calibrate.calibrator import ObserveConfig
    from edgeopt.quantize.calibrate.observe import observe

    (folder / "seed.onnx").write_bytes(_onnx())
    model = files.load(folder / "seed.onnx")
    config = ObserveConfig(cache=folder / "seed.safetensors")
    batches = [{"x": np.ones((2, 4), np.float32)}]
    observe(model, batches, ["x", "y"], signature=files.signature(model), channels={"x": -1}, config=config)
    return (folder / "seed.safetensors").read_bytes()


def _plan(folder: Path) -> bytes:
    from edgeopt.quantize import draft
    from edgeopt.targets.target import load_target

    (folder / "seed.onnx").write_bytes(_onnx())
    batches = [{"x": np.ones((2, 4), np.float32)}]
    return draft(folder / "seed.onnx", batches, target=load_target("x86-vnni")).to_json().encode()


def _run_record() -> bytes:
    from edgeopt.report.record import RunRecord, StageRecord

    return RunRecord("a", {"seed": 1}, "host", (StageRecord("s", "k", "made", 1.0, {"n": 8}),)).to_json().encode()


def _report() -> bytes:
    from edgeopt.report.build import build_report
    from edgeopt.report.json import to_json
    from edgeopt.report.record import RunRecord

    return to_json(build_report(RunRecord("a", {}, "host", ()))).encode()


def _saved_model(folder: Path) -> dict[str, bytes]:
    import torch

    from edgeopt.models.load import Origin
    from edgeopt.models.residual_cnn import ResidualCNN
    from edgeopt.models.save import save_model

    arguments = {"channels": 1, "classes": 3, "width": 4, "stages": 1, "blocks": 1}
    torch.manual_seed(0)
    save_model(ResidualCNN(**arguments), folder / "seed", origin=Origin("edgeopt.models.residual_cnn:ResidualCNN", arguments))
    return {file.name: file.read_bytes() for file in sorted((folder / "seed").iterdir())}


_MANIFEST = b"""description = "d"
origin = "o"
licence = "l"
reader = "arrays"
[[inputs]]
name = "x"
dtype = "float32"
shape = [2]
[splits.calibration]
path = "s.npz"
count = 3
"""
_PREPROCESSING = b'width = 4\nheight = 2\nmean = [127.5]\nscale = [127.5]\ninput = "x"\n'
_PROCESSOR = json.dumps(
    {
        "image_processor_type": "X",
        "size": {"height": 8, "width": 8},
        "image_mean": [0.5],
        "image_std": [0.5],
        "rescale_factor": 0.004,
        "resample": 2,
    }
).encode()
_PROFILE = json.dumps(
    {
        "target": "host",
        "device": {"cpu": "x"},
        "variants": [{"name": "a", "size_bytes": 5, "samples_ms": [1.0, 1.1, 0.9] * 8, "macs": 7, "peak_rss_bytes": 9000}],
    }
).encode()
_RECIPE = b'name = "r"\nmodel = "m.onnx"\n[data]\nset = "digits"\n[quantize]\nranges = "mse"\npercentile = 99.5\n'


def targets(folder: Path) -> dict[str, Target]:
    """Return all readers, by name."""
    values = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    from edgeopt._folders import shipped

    target = (shipped("deploy") / "targets" / "x86-vnni.toml").read_bytes()
    images = {f"photos/{number}.{form}": _image(form) for number, form in enumerate(["png", "jpeg", "bmp", "webp"])}
    bundle = {f"bundle/{name}": content for name, content in bundle_files(folder, _onnx()).items()}
    preprocessing = folder / "preprocessing.toml"
    preprocessing.write_bytes(_PREPROCESSING)

    def in_folder(read: Callable[[Path], object]) -> Callable[[Path], object]:
        return lambda path: read(path.parent)

    tables = {
        "t.csv": b'text,label\nhello,1\n"a, b",2\n',
        "t.tsv": b"text\tlabel\nhello\tx\nb\ty\n",
        "t.jsonl": b'{"text": "a", "label": 1}\n{"text": "b", "label": 2}\n',
        "t.txt": b"one\ntwo\n",
    }

    def read_table(path: Path) -> object:
        from edgeopt.data.table_rows import RowOptions, texts_of_rows
        from edgeopt.data.table_texts import RowsOptions, read_rows

        return texts_of_rows(read_rows(path, RowsOptions()), RowOptions(), where=str(path))

    return {
        "npz": Target(
            _source(),
            {
                "a.npz": _npz(x=values, labels=np.arange(4)),
                "b.npz": _packed(x=values),
                "c.npz": _npz(x=np.float32(1)),
                "d.npz": _npz(x=np.zeros(3, [("a", "<f4")])),
                "e.npz": _objects(),
                "f.npz": _npz(x=np.asfortranarray(values), y=values.astype(">f8")),
            },
        ),
        "npy": Target(in_folder(_source()), {"arrays/x.npy": _npy(values), "arrays/000.npy": _npy(values[0])}),
        "npz folder": Target(in_folder(_source()), {"parts/a.npz": _npz(x=values), "parts/b.npz": _packed(x=values)}),
        "wav": Target(in_folder(_source("?input=x")), {f"speech/{width}.wav": _wav(width) for width in (1, 2, 3, 4)}),
        "table": Target(read_table, tables),
        "sentences": Target(_read_sentences, {"s.txt": b"1 a good film\n0\tbad\n"}),
        "images": Target(in_folder(_source(f"?preprocessing={preprocessing}")), images),
        "preprocessing": Target(_read_image_input, {"p.toml": _PREPROCESSING, "preprocessor_config.json": _PROCESSOR}),
        "manifest": Target(_read_set, {"set/manifest.toml": _MANIFEST}),
        "plan": Target(_read_plan, {"m.plan.json": _plan(folder)}),
        "profile": Target(_read_profile, {"p.json": _PROFILE}),
        "run": Target(_read_run, {"run.json": _run_record()}),
        "report": Target(_read_report, {"report.json": _report()}),
        "target": Target(_read_target, {"t.toml": target}),
        "recipe": Target(_read_recipe, {"r.toml": _RECIPE}),
        "cache": Target(_read_cache, {"seen.safetensors": _cache(folder)}),
        "tokenizer": Target(_read_tokenizer, {"tokenizer.json": _tokenizer()}),
        "bundle": Target(read_bundle, bundle),
        "onnx": Target(_read_onnx, {"m.onnx": _onnx()}),
        "model": Target(_read_model, {f"model/{name}": content for name, content in _saved_model(folder).items()}),
        **{name: Target(read, seeds) for name, (read, seeds) in folders.readers(folder, bundle).items()},
    }


class HangError(BaseException):
    """A file took too long; no reader may catch it."""


@contextlib.contextmanager
def limited_time() -> Iterator[None]:
    """Raise `HangError` in what takes too long."""

    def ring(*_: object) -> None:
        raise HangError

    limits = {signal.ITIMER_PROF: _SECONDS_PER_FILE, signal.ITIMER_REAL: _CLOCK_SECONDS_PER_FILE}
    signal.signal(signal.SIGPROF, ring)
    signal.signal(signal.SIGALRM, ring)
    for timer, seconds in limits.items():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for timer in limits:
            signal.setitimer(timer, 0)


def fault(read: Callable[[Path], object], path: Path) -> str | None:
    """Return what is wrong with how the file is read; None if it is read or properly refused."""
    try:
        with limited_time(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)
    except EdgeoptError as error:
        if error.exit_code not in (1, 2):
            return f"exit code {error.exit_code}: {error}"
        return f"several lines: {error}" if "\n" in str(error).strip() else None
    except HangError:
        return f"more than {_SECONDS_PER_FILE} s of the processor, or {_CLOCK_SECONDS_PER_FILE} s of the clock"
    except Exception as error:  # noqa: BLE001  (that is what is looked for)
        return f"{type(error).__name__}: {str(error)[:200]}"
    return None


def sweep(name: str, target: Target, *, seconds: float, seed: int, folder: Path) -> int:
    """Fuzz one reader until its time is up; print each fault once and return how many kinds there were."""
    generator, found, count = random.Random(f"{seed} {name}"), set[str](), 0
    end = time.process_time() + seconds
    while time.process_time() < end:
        place = folder / "case"
        shutil.rmtree(place, ignore_errors=True)
        chosen = generator.choice(sorted(target.seeds))
        for other, content in target.seeds.items():  # the other files of a folder stay whole
            if "/" in other or other == chosen:
                file = place / other
                file.parent.mkdir(parents=True, exist_ok=True)
                if other == chosen and generator.random() < 0.01:
                    file.mkdir()
                    continue
                file.write_bytes(mutated(content, generator) if other == chosen and count else content)
        problem = fault(target.read, place / chosen)
        count += 1
        kind = re.sub(r"[\d'\"]+", "#", problem or "")[:80]
        if problem and kind not in found:
            found.add(kind)
            kept = _KEPT / name.replace(" ", "-") / f"{len(found)}"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(place, kept)
            sys.stdout.write(f"{name}: {problem}  ({kept}/{chosen})\n")
    sys.stdout.write(f"{name}: {count:,} files, {len(found)} kinds of fault\n")
    sys.stdout.flush()
    return len(found)


def main() -> None:
    """Fuzz the readers one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120, help="of the processor, per reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", help="readers, by name")
    asked = parser.parse_args()
    logging.disable()  # of onnx_ir, which tells of each damaged graph
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    with tempfile.TemporaryDirectory(prefix="edgeopt-sweep-") as name:
        folder = Path(name)
        known = targets(folder)
        chosen = {reader: target for reader, target in known.items() if not asked.only or reader in asked.only}
        if unknown := sorted(set(asked.only or ()) - set(known)):
            parser.error(f"no reader {unknown[0]}; known: {', '.join(known)}")
        faults = sum(
            sweep(reader, target, seconds=asked.seconds, seed=asked.seed, folder=folder) for reader, target in chosen.items()
        )
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
