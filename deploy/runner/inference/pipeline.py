"""A bundle as a function: `Bundle(folder).predict(raw)` takes raw data and returns a named answer.

Raw data is the path of an image or a recording, a text (or two), or the path of arrays, as the bundle's preprocessing says.
"""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from . import audio, images, text
from .decoding import Answer, Context, Placement, Tokens, decode

Raw = Union[str, bytes, Sequence[str]]
PROVIDER = "CPUExecutionProvider"


@dataclass(frozen=True)
class Prepared:
    """A sample ready for the model: inputs by name (batch axis 1), and what decoding needs."""

    feeds: Mapping[str, Any]
    placement: Optional[Placement] = None
    tokens: Optional[Tokens] = None
    encoded: Optional[text.Encoded] = None


class Bundle:
    """A bundle that is ready to answer.

    Attributes:
        manifest: the contents of bundle.json.
        session: the onnxruntime session.
    """

    def __init__(
        self,
        folder: str,
        provider: str = PROVIDER,
        threads: int = 0,
        session: Any = None,
        manifest: Optional[Dict[str, Any]] = None,
    ) -> None:
        """Read bundle.json and open the model.

        Args:
            folder: of the bundle.
            provider: execution provider of onnxruntime.
            threads: that run the model; 0: as many as there are cores.
            session: one that is open already.
            manifest: contents of bundle.json, where they are known.
        """
        self.folder = folder
        self.manifest: Dict[str, Any] = manifest if manifest is not None else read_manifest(folder)
        self.steps: Dict[str, Any] = {
            **_DEFAULTS.get(self.manifest["preprocessing"]["kind"], {}),
            **self.manifest["preprocessing"],
        }
        self.decoding: Dict[str, Any] = self.manifest.get("decoding") or guess(self.manifest)
        self.labels: List[str] = self.manifest["labels"]
        self._tokenizer: Optional[text.Tokenizer] = None
        self.session = session or self._open(provider, threads)

    def _open(self, provider: str, threads: int) -> Any:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 3  # errors only
        options.intra_op_num_threads = threads
        return ort.InferenceSession(self.path(self.manifest["model"]["file"]), options, providers=[provider])

    def path(self, name: str) -> str:
        """Return the path of one of the bundle's files.

        Raises:
            ValueError: its name leaves the bundle.
        """
        if not isinstance(name, str) or any(part in ("", ".", "..") for part in name.split("/")) or set(name) & set("\\:\0"):
            raise ValueError(f"bundle.json: the path {name!r} leaves the bundle; refused")
        return os.path.join(self.folder, *name.split("/"))

    @property
    def tokenizer(self) -> text.Tokenizer:
        """The bundle's tokenizer."""
        if self._tokenizer is None:
            file = self.steps.get("file", "tokenizer.json")
            self._tokenizer = text.Tokenizer(self.path(file), self.steps.get("max_length", 1 << 30))
        return self._tokenizer

    def predict(self, raw: Raw) -> Answer:
        """Return the answer for one raw input.

        Raises:
            ValueError: the raw input cannot be read.
        """
        return self.finish([self.prepare(raw)])[0]

    def predict_many(self, raws: Sequence[Raw], batch: int = 16) -> List[Answer]:
        """Return one answer for each raw input, in batches where the model takes them."""
        size = batch if self.batches() else 1
        prepared = (self.prepare(raw) for raw in raws)
        answers: List[Answer] = []
        group: List[Prepared] = []
        for one in prepared:
            if group and (len(group) == size or not stack(group[0], one)):
                answers += self.finish(group)
                group = []
            group.append(one)
        return answers + (self.finish(group) if group else [])

    def batches(self) -> bool:
        """Whether the first axis of every input and output is open, so that samples can share a run."""
        sides = [*self.manifest["inputs"], *self.manifest["outputs"]]
        return all(tensor["shape"] and isinstance(tensor["shape"][0], str) for tensor in sides)

    def prepare(self, raw: Raw) -> Prepared:
        """Return the model's inputs for one raw input."""
        kind = self.steps["kind"]
        if kind == "image":
            return self.prepare_pixels(images.read_pixels(raw if isinstance(raw, bytes) else _path(raw)))
        if kind == "audio":
            if isinstance(raw, bytes):
                return self.prepare_samples(*audio.read_wav(raw))
            path = _path(raw)
            if path.endswith(".npy"):
                return self.prepare_samples(images.read_array(path), self.steps["rate"])
            return self.prepare_samples(*audio.read_wav(path))
        if kind == "tokenizer":
            return self.prepare_text(raw)
        return Prepared(self._arrays(raw if isinstance(raw, bytes) else _path(raw)))

    def prepare_pixels(self, pixels: Any) -> Prepared:
        """Return the model's inputs for an image, uint8 [height, width, 3] in RGB."""
        name, dtype = self._input()
        value, placement = images.image_input(pixels, self.steps)
        return Prepared({name: value.astype(dtype)}, placement=placement)

    def prepare_samples(self, samples: Any, rate: int) -> Prepared:
        """Return the model's inputs for mono samples in −1…1."""
        name, dtype = self._input()
        return Prepared({name: audio.audio_input(samples, rate, self.steps).astype(dtype)})

    def prepare_text(self, raw: Raw) -> Prepared:
        """Return the model's inputs for a text, or for a pair where the model takes pairs."""
        if isinstance(raw, bytes):
            raise ValueError("this model takes a text")  # noqa: TRY004  (callers show every ValueError as wrong input)
        if not isinstance(raw, str) and (len(raw) != 2 or not self.steps.get("pair")):
            raise ValueError(f"this model takes {'two texts' if self.steps.get('pair') else 'one text'}, not {len(raw)}")
        encoded = self.tokenizer.encode(raw)
        feeds = text.token_input([encoded], self.steps, self.manifest["inputs"])
        return Prepared(feeds, tokens=text.tokens_of(raw, encoded), encoded=encoded)

    def _input(self) -> Tuple[str, str]:
        name = self.steps["input"] or self.manifest["inputs"][0]["name"]
        return name, next(tensor["dtype"] for tensor in self.manifest["inputs"] if tensor["name"] == name)

    def _arrays(self, source: Union[str, bytes]) -> Dict[str, Any]:
        """Return the arrays of an .npy or .npz, a file or its bytes, by the names of the model's inputs."""
        path = source if isinstance(source, str) else "the arrays"
        try:
            arrays = np.load(source if isinstance(source, str) else io.BytesIO(source), allow_pickle=False)
            if isinstance(arrays, np.ndarray):
                found = {tensor["name"]: arrays for tensor in self.manifest["inputs"]}
            else:
                with arrays:
                    found = {name: arrays[name] for name in arrays.files}
        except Exception as error:  # (what numpy raises has no common base)
            raise ValueError(f"{path}: no arrays can be read: {' '.join(str(error).split())[:200]}") from error
        feeds = {}
        for tensor in self.manifest["inputs"]:
            if tensor["name"] not in found:
                raise ValueError(f"{path}: has no array '{tensor['name']}'")
            feeds[tensor["name"]] = _typed(found[tensor["name"]], tensor)
            _check_shape(feeds[tensor["name"]], tensor, path)
        return feeds

    def answer(self, outputs: Mapping[str, Any], prepared: Prepared) -> Answer:
        """Return the answer that the outputs of one sample are."""
        mask = prepared.feeds.get(self.steps.get("attention_mask") or "")
        return decode(self.decoding, outputs, self.context([prepared], mask))[0]

    def finish(self, group: Sequence[Prepared]) -> List[Answer]:
        """Run the model once for samples that fit into one batch, and return their answers."""
        feeds = self._together(group)
        outputs = self.run(feeds)
        mask = feeds.get(self.steps.get("attention_mask") or "")
        return decode(self.decoding, outputs, self.context(group, mask))

    def context(self, group: Sequence[Prepared], mask: Any = None) -> Context:
        """Return what decoding needs to know about samples."""
        placements = [one.placement for one in group if one.placement is not None]
        tokens = [one.tokens for one in group if one.tokens is not None]
        to_text: Optional[Callable[[Sequence[int]], str]] = None
        if self.decoding["kind"] == "text":
            to_text = self.tokenizer.decode
        return Context(self.labels, placements, tokens, mask, to_text)

    def _together(self, group: Sequence[Prepared]) -> Dict[str, Any]:
        if group[0].encoded is not None:
            encoded = [one.encoded for one in group if one.encoded is not None]
            return text.token_input(encoded, self.steps, self.manifest["inputs"])
        if len(group) == 1:
            return dict(group[0].feeds)
        return {name: np.concatenate([one.feeds[name] for one in group]) for name in group[0].feeds}

    def run(self, feeds: Mapping[str, Any]) -> Dict[str, Any]:
        """Return the outputs by name; a streaming model runs once for each chunk."""
        names = [tensor["name"] for tensor in self.manifest["outputs"]]
        constants = self.constants()
        if not self.steps.get("chunk"):
            return dict(zip(names, self.session.run(None, {**feeds, **constants})))
        return self._stream(feeds, constants, names)

    def constants(self) -> Dict[str, Any]:
        """Return the inputs that always have one value."""
        tensors = {tensor["name"]: tensor for tensor in self.manifest["inputs"]}
        found = {}
        for name, value in self.steps.get("constants", {}).items():
            shape = [1 if isinstance(axis, str) else axis for axis in tensors[name]["shape"]]
            found[name] = np.full(shape, value, tensors[name]["dtype"])
        return found

    def first_run(self, feeds: Mapping[str, Any]) -> Dict[str, Any]:
        """Return the inputs of the model's first run for a sample: of a streaming model a chunk, with zeros as states."""
        if not self.steps.get("chunk"):
            return {**feeds, **self.constants()}
        ((name, samples),) = feeds.items()
        return {name: next(self._chunks(samples)), **self._first_states(), **self.constants()}

    def _first_states(self) -> Dict[str, Any]:
        tensors = [tensor for tensor in self.manifest["inputs"] if tensor["name"] in self.steps["states"]]
        shapes = {tensor["name"]: [1 if isinstance(axis, str) else axis for axis in tensor["shape"]] for tensor in tensors}
        return {tensor["name"]: np.zeros(shapes[tensor["name"]], tensor["dtype"]) for tensor in tensors}

    def _chunks(self, samples: Any) -> Iterator[Any]:
        """Yield the samples of each run of a streaming model, those before each chunk included."""
        chunk, before = self.steps["chunk"], self.steps["context"]
        missing = -samples.shape[-1] % chunk
        padded = np.pad(samples, [(0, 0)] * (samples.ndim - 1) + [(before, missing)])
        for start in range(0, padded.shape[-1] - before, chunk):
            yield padded[..., start : start + before + chunk]

    def _stream(self, feeds: Mapping[str, Any], constants: Mapping[str, Any], names: Sequence[str]) -> Dict[str, Any]:
        """Run chunk after chunk with the states of the chunk before; outputs are joined along a time axis behind the batch."""
        ((name, samples),), states = feeds.items(), self._first_states()
        collected: Dict[str, List[Any]] = {output: [] for output in names if output not in self.steps["states"].values()}
        for part in self._chunks(samples):
            outputs = dict(zip(names, self.session.run(None, {name: part, **states, **constants})))
            states = {state: outputs[source] for state, source in self.steps["states"].items()}
            for output, values in collected.items():
                values.append(outputs[output])
        return {output: np.stack(values, axis=1) for output, values in collected.items()}


def read_manifest(folder: str) -> Dict[str, Any]:
    """Return the contents of the bundle.json in `folder`."""
    with open(os.path.join(folder, "bundle.json"), encoding="utf-8") as file:
        manifest: Dict[str, Any] = json.load(file)
    return manifest


_DEFAULTS: Dict[str, Dict[str, Any]] = {
    "image": {"letterbox": False, "pad": [114.0], "pad_position": "centre"},
    "tokenizer": {"pair": False},
}
"""Options that bundles of schema version 1 do not name."""


def guess(manifest: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the decoding of a bundle of schema version 1, which names none."""
    first, labels = manifest["outputs"][0], manifest["labels"]
    if labels and len(first["shape"]) == 2 and first["shape"][-1] == len(labels):
        return {"kind": "argmax", "output": first["name"], "activation": "softmax", "top_k": 5}
    return {"kind": "arrays"}


def _path(raw: Raw) -> str:
    if not isinstance(raw, str):
        raise ValueError("this model takes one file")  # noqa: TRY004  (callers show every ValueError as wrong input)
    if not os.path.exists(raw):
        raise ValueError(f"{raw}: no such file")
    return raw


def _typed(values: Any, tensor: Mapping[str, Any]) -> Any:
    if tensor["dtype"] == "object":
        return values.astype(object)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"array '{tensor['name']}' holds {values.dtype}, which is no number")
    return values.astype(tensor["dtype"], copy=False)


def _check_shape(values: Any, tensor: Mapping[str, Any], path: str) -> None:
    """Raise an error where an array does not have the axes that the model takes."""
    wanted = tensor["shape"]
    fits = len(wanted) == values.ndim and all(isinstance(axis, str) or axis == size for axis, size in zip(wanted, values.shape))
    if not fits:
        raise ValueError(f"{path}: array '{tensor['name']}' has shape {list(values.shape)}, the model takes {wanted}")


def stack(first: Prepared, other: Prepared) -> bool:
    """Return whether two samples fit into one batch: texts are padded, everything else must have one shape."""
    if first.encoded is not None:
        return True
    return all(first.feeds[name].shape == other.feeds[name].shape for name in first.feeds)
