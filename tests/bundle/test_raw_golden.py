"""Golden raw inputs: made from prepared ones, recorded with their answers, and refused where they give none."""

import io
import json

import numpy as np
import onnx
import onnx.parser
import pytest
from PIL import Image

from edgeopt.bundle import ImageInput, raw_golden, verify_bundle, write_bundle
from edgeopt.bundle.raw_golden import RawSample, png, raw_of_samples, wav
from edgeopt.data.preprocessing import AudioInput
from edgeopt.device_code import inference
from edgeopt.errors import RecipeError

MEAN = """<ir_version: 9, opset_import: ["" : 19]> mean (float[batch, 3, 4, 4] image) => (float[batch, 3] colour)
{ axes = Constant <value_ints = [2, 3]> ()  colour = ReduceMean <keepdims = 0> (image, axes) }"""


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_is_what_pillow_reads(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), dtype=np.uint8)
    with Image.open(io.BytesIO(png(pixels))) as image:
        np.testing.assert_array_equal(np.asarray(image).reshape(pixels.shape), pixels)


def test_a_wav_is_read_back_within_a_step():
    samples = np.random.default_rng(0).uniform(-1, 1, 50)
    values, rate = inference("audio").read_wav(wav(samples, 8000))
    assert rate == 8000
    assert np.abs(values - samples).max() < 1e-4


def test_images_and_recordings_are_prepared_again_to_the_same_inputs(tmp_path):
    steps = ImageInput(width=4, height=4, colour="BGR", mean=[10.0, 20.0, 30.0], scale=[50.0])
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    sample = inference("images").image_input(pixels, steps.model_dump())[0]
    (raw,) = raw_of_samples([{"image": sample}], steps, None)
    with Image.open(io.BytesIO(raw.content)) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)
    assert len(raw_of_samples([{"sound": np.zeros((1, 9), np.float32)}], AudioInput(rate=8000), None)) == 1


def test_large_arrays_are_recorded_in_part_and_compared_all_over(make_spec, tmp_path, monkeypatch):
    monkeypatch.setattr(raw_golden, "_MOST_NUMBERS", 20)
    text = MEAN.replace("[batch, 3] colour", "[batch, 3, 4, 4] colour").replace(
        "ReduceMean <keepdims = 0> (image, axes)", "Neg (image)"
    )
    onnx.save(onnx.parser.parse_model(text), tmp_path / "neg.onnx")
    golden = [{"image": np.random.default_rng(0).normal(size=(1, 3, 4, 4)).astype(np.float32)}]
    write_bundle(make_spec(model=tmp_path / "neg.onnx", golden=golden, labels=()), output=tmp_path / "out")
    made = inference("pipeline").Bundle(str(tmp_path / "out"))
    (entry,) = made.manifest["golden"]["raw"]
    kept = entry["answer"]["arrays"]["colour"]
    assert (kept["shape"], kept["step"], len(kept["values"])) == ([3, 4, 4], 3, 16)
    assert inference("golden").check_raw(made, made.predict) == []

    def other(raw):
        answer = made.predict(raw)
        answer["arrays"]["colour"]["values"][45] += 1
        return answer

    (problem,) = inference("golden").check_raw(made, other)
    assert "is recorded" in problem


@pytest.fixture
def bundle(make_spec, tmp_path):
    onnx.save(onnx.parser.parse_model(MEAN), tmp_path / "mean.onnx")
    Image.new("RGB", (9, 7), (255, 0, 51)).save(tmp_path / "red.png")
    spec = make_spec(
        model=tmp_path / "mean.onnx",
        golden=[{"image": np.zeros((1, 3, 4, 4), np.float32)}],
        labels=("r", "g", "b"),
        preprocessing=ImageInput(width=4, height=4),
        raw=(RawSample(content=(tmp_path / "red.png").read_bytes(), suffix=".png"),),
    )
    write_bundle(spec, output=tmp_path / "out")
    return tmp_path / "out"


def test_a_raw_input_travels_with_its_answer_and_is_verified(bundle):
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    (entry,) = manifest["golden"]["raw"]
    assert entry["input"] == {"file": "golden/000.png"}
    assert [one["label"] for one in entry["answer"]["classes"]] == ["r", "b", "g"]
    report = verify_bundle(bundle)
    assert report.passed
    assert any(check.name == "raw" and "1 raw inputs give the recorded answers" in check.detail for check in report.checks)


def test_a_raw_input_with_another_answer_fails_the_verification(bundle):
    code = inference("golden")
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    manifest["golden"]["raw"][0]["answer"]["classes"][0]["label"] = "g"
    found = inference("pipeline").Bundle(str(bundle), manifest=manifest)
    assert code.check_raw(found, found.predict) == ["raw input 0: best is r, recorded is g"]


def test_a_raw_input_that_cannot_be_read_is_an_error_that_says_so(make_spec, tmp_path):
    with pytest.raises(RecipeError, match=r"raw input 0 gives no answer: .*no arrays can be read"):
        write_bundle(make_spec(raw=(RawSample(content=b"nothing", suffix=".npz"),)), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
