"""The model with its image preprocessing in the graph: a second file, whose input is the content of an image file.

    bytes ── DecodeImage ──▶ colour ──▶ resize, letterbox or crop ──▶ (pixel − mean) / scale ──▶ the model

DecodeImage is the only operator that onnxruntime lacks; the package onnxruntime-extensions brings it. The rest is ONNX: a
Resize with antialias is Pillow's filter, axis after axis with whole steps between, as the code that travels with bundles does.
DecodeImage (0.15.2) is libjpeg 9e: it enlarges the halved colours of JPEG by a larger inverse DCT, Pillow's libjpeg-turbo by a
triangle filter, so pixels differ at coloured edges (4:4:4 gives the same pixels). It does not turn images as their EXIF says.
The pixels of a grey JPEG come out of order and with one channel, those of a CMYK one with four: the graph refuses both.

A file that is neither JPEG nor PNG ends the process in DecodeImage (libjpeg exits), a JPEG that is cut off never returns, and a
grey PNG of 16 bits is read by its upper bytes, where Pillow clips to 255. So the graph looks at the file first: a Reshape fails
on what must not be decoded, and an end marker is appended. A JPEG whose headers are damaged still ends the process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from edgeopt.data.preprocessing import ImageInput, Preprocessing
from edgeopt.device_code import inference
from edgeopt.errors import MachineError, RecipeError
from edgeopt.graph import files
from edgeopt.graph.editing import opset_of
from edgeopt.graph.opsets import inline_functions, upgrade

FILE = "model.from-image.onnx"
INPUT = "image_file"
PACKAGE = "onnxruntime-extensions"
_DOMAIN = "com.microsoft.extensions"
_CHECKED = "fi_checked"
_REFUSAL = "image_file_must_be_a_whole_JPEG_or_a_PNG_that_is_not_grey_with_16_bits"
"""Name of the node that fails otherwise: onnxruntime's message has it."""
_MARKS = (("jpeg", [0, 1, 2], [255, 216, 255]), ("png", [0, 1, 2, 3], [137, 80, 78, 71]), ("deep_grey", [24, 25], [16, 0]))
"""Name, places and values of the bytes that tell a JPEG, a PNG, and of a PNG that it is grey with 16 bits."""
_TAIL_BYTES = 1 << 16
"""Of the end of a JPEG, where its end marker is looked for; cameras write more behind it."""
_OLDEST_OPSET = 18  # Resize with antialias and axes
_MODES = {"bilinear": 'mode = "linear"', "bicubic": 'mode = "cubic", cubic_coeff_a = -0.5'}
_PLANE = "fi_axes = Constant <value_ints = [2, 3]> ()"
_NEAREST = 'mode = "nearest", nearest_mode = "round_prefer_ceil"'


def extensions_library() -> str:
    """Return the path of the library with the operator.

    Raises:
        MachineError: the package is not installed.
    """
    try:
        import onnxruntime_extensions
    except ImportError as error:
        raise MachineError(f"preprocessing in the graph needs the package {PACKAGE}: pip install {PACKAGE}") from error
    return str(onnxruntime_extensions.get_library_path())


def put_in_graph(model: ir.Model, steps: Preprocessing) -> ir.Model:
    """Return `model`, changed: instead of pixels it takes the bytes of an image file; an old opset is brought up.

    Raises:
        RecipeError: the preprocessing is not one of images, or the model's opset lacks what it needs and cannot be brought up.
    """
    if not isinstance(steps, ImageInput):
        raise RecipeError(f"preprocessing in the graph is for images; this model takes {steps.kind}")
    if steps.resample == "lanczos":
        raise RecipeError("preprocessing in the graph cannot resize by lanczos, which ONNX lacks; use bicubic or leave it out")
    model = _new_enough(model)
    graph, opset = model.graph, opset_of(model)
    pixels = next(value for value in graph.inputs if steps.input in (None, value.name))
    made = ir.from_onnx_text(_text(steps, opset, pixels.dtype or ir.DataType.FLOAT)).graph
    (image,), (result,) = list(made.inputs), list(made.outputs)
    result.shape = pixels.shape
    nodes = list(made)
    for node in nodes:
        if node.outputs[0].name == _CHECKED:
            node.name = _REFUSAL
    made.inputs.clear()
    made.outputs.clear()
    made.remove(nodes)
    ir.convenience.replace_all_uses_with(pixels, result)
    graph.inputs[graph.inputs.index(pixels)] = image
    first = next(iter(graph), None)
    if first is None:
        raise RecipeError("the model has no nodes")
    graph.insert_before(first, nodes)
    model.opset_imports[_DOMAIN] = 1
    return model


def _new_enough(model: ir.Model) -> ir.Model:
    opset = opset_of(model)
    if opset >= _OLDEST_OPSET:
        return model
    try:
        inline_functions(model)
        return upgrade(model, _OLDEST_OPSET)
    except Exception as error:  # (onnx's converter raises what it likes)
        said = " ".join(str(error).split())[:200]
        needs = f"preprocessing in the graph needs opset {_OLDEST_OPSET}, the model has {opset}"
        raise RecipeError(f"{needs} and cannot be brought up ({said}); export it again") from error


def _text(steps: ImageInput, opset: int, dtype: ir.DataType) -> str:
    """Return the preprocessing as a graph from bytes to the model's input."""
    body = "\n".join([*_readable(), *_decoded(steps), *_placed(steps), *_normalised(steps, dtype)])
    return (
        f'<ir_version: 10, opset_import: ["" : {opset}, "{_DOMAIN}" : 1]>\n'
        f"from_image (uint8[bytes] {INPUT}) => ({dtype.name.lower()} from_image_result) {{\n{body}\n}}"
    )


def _readable() -> Iterator[str]:
    """Yield: the file becomes fi_bytes, with a JPEG's end marker; fails but for a whole JPEG or a PNG that is not deep grey."""
    for name, places, values in _MARKS:
        yield f"fi_{name}_at = Constant <value_ints = {places}> ()  fi_{name}_is = Constant <value_ints = {values}> ()"
        yield f"fi_{name}_b = Gather ({INPUT}, fi_{name}_at)  fi_{name}_w = Cast <to = 7> (fi_{name}_b)"
        yield f"fi_{name}_s = Sub (fi_{name}_w, fi_{name}_is)  fi_{name}_a = Abs (fi_{name}_s)"
        yield f"fi_{name}_off = ReduceSum <keepdims = 1> (fi_{name}_a)"  # 0 where the bytes are these
    yield f"fi_back = Constant <value_ints = [-{_TAIL_BYTES}]> ()  fi_far = Constant <value_ints = [{2**62}]> ()"
    yield f"fi_tail_b = Slice ({INPUT}, fi_back, fi_far)  fi_tail = Cast <to = 7> (fi_tail_b)"
    yield "fi_zero = Constant <value_ints = [0]> ()  fi_unit = Constant <value_ints = [1]> ()"
    yield "fi_last = Constant <value_ints = [-1]> ()  fi_left_of = Slice (fi_tail, fi_zero, fi_last)"
    yield "fi_right_of = Slice (fi_tail, fi_unit, fi_far)  fi_ff = Constant <value_int = 255> ()"
    yield "fi_d9 = Constant <value_int = 217> ()  fi_is_ff = Equal (fi_left_of, fi_ff)  fi_is_d9 = Equal (fi_right_of, fi_d9)"
    yield "fi_is_end = And (fi_is_ff, fi_is_d9)  fi_end_w = Cast <to = 7> (fi_is_end)"
    yield "fi_ended = ReduceMax <keepdims = 1> (fi_end_w)"
    yield "fi_open = Sub (fi_unit, fi_ended)  fi_no_jpeg = Add (fi_jpeg_off, fi_open)"
    yield "fi_is_deep = Equal (fi_deep_grey_off, fi_zero)  fi_deep = Cast <to = 7> (fi_is_deep)"
    yield "fi_no_png = Add (fi_png_off, fi_deep)  fi_neither = Mul (fi_no_jpeg, fi_no_png)"
    yield f"fi_length = Shape ({INPUT})  fi_asked = Add (fi_length, fi_neither)  {_CHECKED} = Reshape ({INPUT}, fi_asked)"
    yield f"fi_end_mark = Constant <value = uint8[2] {{255, 217}}> ()  fi_bytes = Concat <axis = 0> ({_CHECKED}, fi_end_mark)"


def _decoded(steps: ImageInput) -> Iterator[str]:
    """Yield: the file becomes float pixels [1, channels, rows, columns] in the model's colours."""
    yield f"fi_file = {_DOMAIN}.DecodeImage (fi_bytes)"  # uint8 [rows, columns, BGR]
    yield "fi_sides = Shape <end = 2> (fi_file)  fi_three = Constant <value_ints = [3]> ()"
    yield "fi_form = Concat <axis = 0> (fi_sides, fi_three)  fi_colours = Reshape (fi_file, fi_form)"
    yield "fi_planes = Transpose <perm = [2, 0, 1]> (fi_colours)"
    yield "fi_first = Constant <value_ints = [0]> ()  fi_batch = Unsqueeze (fi_planes, fi_first)"
    if steps.colour == "GREY":  # luma in 16-bit arithmetic, as Pillow's "L"
        yield "fi_whole = Cast <to = 7> (fi_batch)  fi_part = Constant <value = int64[1, 3, 1, 1] {7471, 38470, 19595}> ()"
        yield "fi_half = Constant <value_int = 32768> ()  fi_bits = Constant <value_int = 65536> ()"
        yield "fi_shares = Mul (fi_whole, fi_part)  fi_one = Constant <value_ints = [1]> ()"
        yield "fi_sum = ReduceSum (fi_shares, fi_one)  fi_more = Add (fi_sum, fi_half)  fi_luma = Div (fi_more, fi_bits)"
        yield "fi_image = Cast <to = 1> (fi_luma)"
    elif steps.colour == "RGB":
        yield "fi_order = Constant <value_ints = [2, 1, 0]> ()  fi_rgb = Gather <axis = 1> (fi_batch, fi_order)"
        yield "fi_image = Cast <to = 1> (fi_rgb)"
    else:
        yield "fi_image = Cast <to = 1> (fi_batch)"
    yield "fi_rows = Shape <start = 2, end = 3> (fi_image)  fi_columns = Shape <start = 3, end = 4> (fi_image)"
    yield f"fi_height = Constant <value_ints = [{steps.height}]> ()  fi_width = Constant <value_ints = [{steps.width}]> ()"


def _placed(steps: ImageInput) -> Iterator[str]:
    """Yield: pixels become the input's height and width, by resizing, and cropping or padding."""
    if steps.letterbox:
        yield "fi_rows_d = Cast <to = 11> (fi_rows)  fi_columns_d = Cast <to = 11> (fi_columns)"
        yield "fi_height_d = Cast <to = 11> (fi_height)  fi_width_d = Cast <to = 11> (fi_width)"
        yield "fi_across = Div (fi_width_d, fi_columns_d)  fi_down = Div (fi_height_d, fi_rows_d)"
        yield "fi_ratio = Min (fi_across, fi_down)  fi_least = Constant <value_ints = [1]> ()"
        for side, most in (("rows", "height"), ("columns", "width")):
            yield f"fi_{side}_r = Mul (fi_{side}_d, fi_ratio)  fi_{side}_i = Cast <to = 7> (fi_{side}_r)"
            yield f"fi_{side}_m = Min (fi_{side}_i, fi_{most})  fi_new_{side} = Max (fi_{side}_m, fi_least)"
        yield from _resized(steps.resample)
        yield f"fi_pad = Constant <value = {_channels(steps.pad)}> ()  fi_over = Sub (fi_resized, fi_pad)"
        yield "fi_free_rows = Sub (fi_height, fi_new_rows)  fi_free_columns = Sub (fi_width, fi_new_columns)"
        centre = steps.pad_position == "centre"
        yield "fi_two = Constant <value_ints = [2]> ()" if centre else ""
        for side in ("rows", "columns"):
            before = f"Div (fi_free_{side}, fi_two)" if centre else f"Sub (fi_free_{side}, fi_free_{side})"
            yield f"fi_{side}_before = {before}  fi_{side}_after = Sub (fi_free_{side}, fi_{side}_before)"
        yield "fi_pads = Concat <axis = 0> (fi_rows_before, fi_columns_before, fi_rows_after, fi_columns_after)"
        yield f"{_PLANE}  fi_nothing = Constant <value_float = 0.0> ()"
        yield "fi_padded = Pad (fi_over, fi_pads, fi_nothing, fi_axes)"
        yield "fi_fitted = Add (fi_padded, fi_pad)"
        return
    if steps.shorter_edge:
        yield f"fi_edge = Constant <value_ints = [{steps.shorter_edge}]> ()  fi_shorter = Min (fi_rows, fi_columns)"
        for side in ("rows", "columns"):
            yield f"fi_{side}_e = Mul (fi_edge, fi_{side})  fi_new_{side} = Div (fi_{side}_e, fi_shorter)"
        yield from _resized(steps.resample)
        yield f"{_PLANE}  fi_two = Constant <value_ints = [2]> ()"
        yield "fi_free_rows = Sub (fi_new_rows, fi_height)  fi_free_columns = Sub (fi_new_columns, fi_width)"
        yield "fi_top = Div (fi_free_rows, fi_two)  fi_left = Div (fi_free_columns, fi_two)"
        yield "fi_bottom = Add (fi_top, fi_height)  fi_right = Add (fi_left, fi_width)"
        yield "fi_starts = Concat <axis = 0> (fi_top, fi_left)  fi_ends = Concat <axis = 0> (fi_bottom, fi_right)"
        yield "fi_fitted = Slice (fi_resized, fi_starts, fi_ends, fi_axes)"
        return
    yield "fi_new_rows = Identity (fi_height)  fi_new_columns = Identity (fi_width)"
    yield from _resized(steps.resample)
    yield "fi_fitted = Identity (fi_resized)"


def _resized(resample: str) -> Iterator[str]:
    """Yield: fi_image becomes fi_resized of fi_new_rows × fi_new_columns, columns first, in whole steps of 0…255."""
    if resample == "nearest":
        yield "fi_sizes = Concat <axis = 0> (fi_new_rows, fi_new_columns)"
        yield f"fi_resized = Resize <{_NEAREST}, axes = [2, 3]> (fi_image, , , fi_sizes)"
        return
    yield "fi_step = Constant <value_float = 0.5> ()  fi_none = Constant <value_float = 0.0> ()"
    yield "fi_full = Constant <value_float = 255.0> ()"
    for source, axis, size, result in (("fi_image", 3, "columns", "fi_wide"), ("fi_wide", 2, "rows", "fi_resized")):
        options = f"{_MODES[resample]}, antialias = 1, exclude_outside = 1, axes = [{axis}]"
        yield f"{result}_f = Resize <{options}> ({source}, , , fi_new_{size})"
        yield f"{result}_s = Add ({result}_f, fi_step)  {result}_w = Floor ({result}_s)"
        yield f"{result} = Clip ({result}_w, fi_none, fi_full)"


def _normalised(steps: ImageInput, dtype: ir.DataType) -> Iterator[str]:
    """Yield: pixels become the model's input, normalized, in its order and type."""
    yield f"fi_mean = Constant <value = {_channels(steps.mean)}> ()  fi_scale = Constant <value = {_channels(steps.scale)}> ()"
    yield "fi_centred = Sub (fi_fitted, fi_mean)  fi_scaled = Div (fi_centred, fi_scale)"
    order = "Identity (fi_scaled)" if steps.layout == "NCHW" else "Transpose <perm = [0, 2, 3, 1]> (fi_scaled)"
    yield f"fi_ordered = {order}  from_image_result = Cast <to = {int(dtype)}> (fi_ordered)"


def _channels(values: Sequence[float]) -> str:
    """Return one value per channel, or one for all, as a constant [1, channels, 1, 1]."""
    return f"float[1, {len(values)}, 1, 1] {{{', '.join(repr(float(value)) for value in values)}}}"


def write_in_graph(
    model: Path, steps: Preprocessing, folder: Path, facts: dict[str, Any], answers: list[dict[str, Any]]
) -> dict[str, Any]:
    """Write the file into the bundle in `folder` and return its part of bundle.json.

    Args:
        model: the ONNX file.
        steps: how images become its input.
        folder: of the bundle that is being written.
        facts: the model's part of bundle.json.
        answers: the golden raw inputs with their recorded answers; how many of them it gives is part of what is returned.
    """
    library = extensions_library()
    files.save(put_in_graph(files.load(model), steps), folder / FILE)
    agree = _agreeing(folder, library, facts, answers)
    return {"file": FILE, "input": INPUT, "package": PACKAGE, "raw_inputs": len(answers), "same_answers": agree}


def _agreeing(folder: Path, library: str, facts: dict[str, Any], answers: list[dict[str, Any]]) -> int:
    """Return for how many golden raw inputs the file gives the recorded answer."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised and said once
    options.register_custom_ops_library(library)
    session = ort.InferenceSession(str(folder / FILE), options, providers=["CPUExecutionProvider"])
    bundle = inference("pipeline").Bundle(str(folder), session=session, manifest=facts)
    names = [output.name for output in session.get_outputs()]
    agree = 0
    for entry in answers:
        path = folder / entry["input"]["file"]
        try:
            outputs = session.run(None, {INPUT: np.frombuffer(path.read_bytes(), np.uint8)})
        except Exception:  # noqa: BLE001  (onnxruntime has no common base; it is no file that the graph reads)
            continue
        answer = bundle.answer(dict(zip(names, outputs, strict=True)), bundle.prepare(str(path)))
        agree += inference("compare").disagreement(answer, entry["answer"]) is None
    return agree
