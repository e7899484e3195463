"""Preprocessing in the graph: the pixels of the code that travels with bundles, and a bundle that holds such a model."""

import builtins
import io
import json
import struct
import zlib

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
from PIL import Image
from typer.testing import CliRunner

from edgeopt.bundle import BundleSpec, ImageInput, TokenizerInput, write_bundle
from edgeopt.bundle.in_graph import FILE, extensions_library, put_in_graph
from edgeopt.bundle.raw_golden import RawSample, prepared_inputs
from edgeopt.cli.app import app
from edgeopt.device_code import inference
from edgeopt.errors import MachineError, RecipeError
from edgeopt.graph import files

COPY = '<ir_version: 10, opset_import: ["" : {opset}]> g (float[{shape}] x) => (float[{shape}] y) {{ y = Identity (x) }}'


def copying(shape: str, opset: int = 20) -> ir.Model:
    return ir.from_onnx_text(COPY.format(shape=shape, opset=opset))


def photo(width: int, height: int) -> bytes:
    """Return a PNG of waves with a hard edge."""
    rows, columns = np.mgrid[:height, :width]
    waves = np.stack([128 + 120 * np.sin(rows / 5 + columns / (3 + k)) for k in range(3)], axis=-1)
    waves[height // 3 :, : width // 4] = (255, 0, 40)
    place = io.BytesIO()
    Image.fromarray(waves.astype(np.uint8)).save(place, "PNG")
    return place.getvalue()


@pytest.mark.parametrize(
    ("steps", "shape"),
    [
        (ImageInput(width=24, height=20), "1, 3, 20, 24"),
        (ImageInput(width=30, height=50, resample="nearest", colour="BGR"), "1, 3, 50, 30"),
        (ImageInput(width=24, height=20, shorter_edge=28, resample="bicubic", mean=[1.0, 2.0, 3.0]), "1, 3, 20, 24"),
        (ImageInput(width=40, height=40, letterbox=True, pad=[1.0, 2.0, 3.0], scale=[1.0]), "1, 3, 40, 40"),
        (ImageInput(width=40, height=44, letterbox=True, pad_position="corner", colour="GREY", layout="NHWC"), "1, 44, 40, 1"),
    ],
)
def test_pixels_are_those_of_the_code_that_travels(steps, shape):
    pytest.importorskip("onnxruntime_extensions")
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.register_custom_ops_library(extensions_library())
    session = ort.InferenceSession(files.serialized(put_in_graph(copying(shape), steps)), options)
    images = inference("images")
    for size in ((60, 37), (13, 90)):
        given = photo(*size)
        (found,) = session.run(None, {"image_file": np.frombuffer(given, np.uint8)})
        wanted = images.image_input(images.read_pixels(given), steps.model_dump())[0]
        levels = np.abs(found - wanted) * max(steps.scale)
        assert found.shape == wanted.shape
        assert levels.max() < 1.01, f"{size}: largest difference {levels.max()} levels"
        assert (levels > 0.01).mean() < 0.05


def bundled(tmp_path, raw):
    """Return bundle.json of a bundle, with its preprocessing in a graph, of a model that tells the strongest colour."""
    text = """<ir_version: 9, opset_import: ["" : 19]> mean (float[batch, 3, 8, 8] image) => (float[batch, 3] colour)
{ axes = Constant <value_ints = [2, 3]> ()  colour = ReduceMean <keepdims = 0> (image, axes) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "model.onnx")
    steps = ImageInput(width=8, height=8)
    golden = prepared_inputs(raw, steps, files.signature(files.load(tmp_path / "model.onnx")), None)
    more = {"preprocessing": steps, "raw": raw, "labels": ("red", "green", "blue"), "in_graph": True}
    spec = BundleSpec(tmp_path / "model.onnx", "colours", "image-classification", "x86-vnni", golden, **more)
    write_bundle(spec, output=tmp_path / "out")
    return json.loads((tmp_path / "out" / "bundle.json").read_text(encoding="utf-8"))


def test_a_bundle_says_how_many_answers_such_a_model_gives(tmp_path):
    pytest.importorskip("onnxruntime_extensions")
    facts = bundled(tmp_path, tuple(RawSample(content=photo(*size), suffix=".png") for size in ((30, 20), (9, 40))))
    assert facts["in_graph"] == {
        **{"file": FILE, "input": "image_file", "package": "onnxruntime-extensions"},
        **{"raw_inputs": 2, "same_answers": 2},
    }
    assert FILE in {entry["path"] for entry in facts["files"]}
    assert "2 of 2 golden raw inputs have the recorded answer" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def saved(mode: str, form: str, **options) -> bytes:
    """Return an image in a mode of Pillow's as a file."""
    place = io.BytesIO()
    Image.open(io.BytesIO(photo(48, 40))).convert(mode).save(place, form, **options)
    return place.getvalue()


def deep(mode: str) -> bytes:
    """Return a PNG with 16 bits per channel, grey or in colours, of values that differ in both bytes."""
    rows, columns = np.mgrid[:40, :48]
    channels = 1 if mode == "grey" else 3
    values = np.repeat(((rows * 1500 + columns * 131) % 65536)[..., None], channels, axis=-1)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", 48, 40, 16, 0 if mode == "grey" else 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    chunks = [struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.fixture(scope="module")
def small():
    """A session of a graph that makes images of 24 × 20 pixels."""
    pytest.importorskip("onnxruntime_extensions")
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.register_custom_ops_library(extensions_library())
    options.log_severity_level = 4
    made = put_in_graph(copying("1, 3, 20, 24"), ImageInput(width=24, height=20, scale=[1.0]))
    return ort.InferenceSession(files.serialized(made), options)


REFUSED = {
    "grey JPEG": (lambda: saved("L", "JPEG"), "cannot be reshaped"),
    "CMYK JPEG": (lambda: saved("CMYK", "JPEG"), "cannot be reshaped"),
    "grey PNG of 16 bits": (lambda: deep("grey"), "not_grey_with_16_bits"),
    "BMP": (lambda: saved("RGB", "BMP"), "must_be_a_whole_JPEG_or_a_PNG"),
    "GIF": (lambda: saved("RGB", "GIF"), "must_be_a_whole_JPEG_or_a_PNG"),
    "WebP": (lambda: saved("RGB", "WEBP"), "must_be_a_whole_JPEG_or_a_PNG"),
    "half a JPEG": (lambda: saved("RGB", "JPEG")[:-700], "must_be_a_whole_JPEG_or_a_PNG"),
    "half a PNG": (lambda: photo(48, 40)[:-700], "DecodeImage"),
    "nothing": (lambda: b"", "out of data bounds"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_not_read_as_pillow_reads_it_is_an_error_and_no_wrong_answer(name, small):
    make, said = REFUSED[name]
    with pytest.raises(Exception, match=said):
        small.run(None, {"image_file": np.frombuffer(make(), np.uint8)})


@pytest.mark.parametrize("content", [deep("colour"), saved("RGB", "JPEG", quality=95, subsampling=0) + bytes(5000)])
def test_deep_colours_and_bytes_behind_a_jpeg_are_read_as_pillow_reads_them(content, small):
    (found,) = small.run(None, {"image_file": np.frombuffer(content, np.uint8)})
    images = inference("images")
    wanted = images.image_input(images.read_pixels(content), ImageInput(width=24, height=20, scale=[1.0]).model_dump())[0]
    assert np.abs(found - wanted).max() < 1.01, f"largest difference {np.abs(found - wanted).max()} levels"


@pytest.mark.parametrize(("form", "mode"), [("JPEG", "L"), ("BMP", "RGB")])
def test_a_golden_image_that_the_decoder_does_not_read_does_not_count(form, mode, tmp_path):
    pytest.importorskip("onnxruntime_extensions")
    place = io.BytesIO()
    Image.open(io.BytesIO(photo(30, 20))).convert(mode).save(place, form)
    raw = (RawSample(content=photo(9, 40), suffix=".png"), RawSample(content=place.getvalue(), suffix=f".{form.lower()}"))
    assert bundled(tmp_path, raw)["in_graph"]["same_answers"] == 1


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (TokenizerInput(max_length=4), "is for images; this model takes tokenizer"),
        (ImageInput(width=4, height=4, resample="lanczos"), "cannot resize by lanczos"),
    ],
)
def test_what_cannot_be_in_a_graph_is_refused(steps, said):
    with pytest.raises(RecipeError, match=said):
        put_in_graph(copying("1, 3, 4, 4"), steps)


def test_a_language_model_has_no_images_to_put_into_its_graph(tmp_path):
    with pytest.raises(RecipeError, match="--in-graph is for models of images"):
        CliRunner().invoke(app, ["bundle", str(tmp_path), "--in-graph", "-o", "b"], catch_exceptions=False)


def test_an_old_opset_is_brought_up_or_said():
    made = put_in_graph(copying("1, 3, 4, 4", opset=11), ImageInput(width=4, height=4))
    assert (made.opset_imports[""], made.graph.inputs[0].name) == (18, "image_file")
    old = ir.from_onnx_text(COPY.format(opset=11, shape="1, 3, 4, 4").replace("Identity (x)", "Nothing (x)"))
    with pytest.raises(RecipeError, match=r"needs opset 18, the model has 11 and cannot be brought up \("):
        put_in_graph(old, ImageInput(width=4, height=4))


def test_a_missing_package_is_said_with_its_command(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "onnxruntime_extensions":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MachineError, match="pip install onnxruntime-extensions"):
        extensions_library()
