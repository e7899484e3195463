"""The program a bundle carries to show its use: its arithmetic against Pillow and tokenizers, and the program as a whole."""

import json
import subprocess
import sys
import unicodedata

import numpy as np
import onnx
import onnx.parser
import pytest
from hypothesis import example as example_
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgeopt.bundle import ImageInput, TokenizerInput, write_bundle
from edgeopt.device_code import inference

IMAGES = inference("images")
TEXT = inference("text")


@pytest.mark.parametrize(("width", "height"), [(20, 15), (31, 47), (64, 48), (130, 99)])
def test_bilinear_resize_is_pillow_s_within_one_level(width, height):
    pixels = np.random.default_rng(0).integers(0, 256, size=(48, 64, 3), dtype=np.uint8)
    ours = IMAGES.resize(pixels.astype(np.float32), height, width, "bilinear")
    pillow = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR), np.float32)
    error = np.abs(ours - pillow)
    assert error.max() <= 1, f"largest error {error.max()}"
    assert error.mean() < 0.05, f"mean error {error.mean()}"


@pytest.mark.parametrize(("width", "height"), [(32, 24), (128, 96), (16, 192)])
def test_nearest_resize_is_pillow_s_for_ratios_that_floats_hold_exactly(width, height):
    pixels = np.random.default_rng(0).integers(0, 256, size=(48, 64, 3), dtype=np.uint8)
    ours = IMAGES.resize(pixels.astype(np.float32), height, width, "nearest")
    pillow = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST), np.float32)
    np.testing.assert_array_equal(ours, pillow)


def test_an_image_is_cropped_in_its_centre_and_normalised():
    steps = ImageInput(width=2, height=2, shorter_edge=4, colour="BGR", mean=[1.0, 2.0, 3.0], scale=[2.0], layout="NHWC")
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    expected = (pixels[1:3, 2:4, ::-1].astype(np.float32) - [1, 2, 3]) / 2
    got = IMAGES.image_input(pixels, steps.model_dump())[0]
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got[0], expected)


def test_grey_is_pillow_s_within_one_level():
    pixels = np.random.default_rng(0).integers(0, 256, size=(8, 8, 3), dtype=np.uint8)
    steps = ImageInput(width=8, height=8, colour="GREY", scale=[1.0]).model_dump()
    pillow = np.asarray(Image.fromarray(pixels).convert("L"), np.float32)
    error = np.abs(IMAGES.image_input(pixels, steps)[0][0, 0] - pillow).max()
    assert error <= 1, f"largest error {error}"


def run(folder, *arguments):
    command = [sys.executable, str(folder / "example.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_it_runs_the_golden_sample_and_arrays(make_spec, tmp_path):
    write_bundle(make_spec(), output=tmp_path / "out")
    np.save(tmp_path / "x.npy", np.ones((1, 4), np.float32))
    for arguments in ((), (tmp_path / "x.npy",)):
        done = run(tmp_path / "out", *arguments)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("logits: ")
        assert all(label in done.stdout for label in ("cat", "dog", "owl"))


def test_it_runs_a_image(make_spec, tmp_path):
    text = """<ir_version: 9, opset_import: ["" : 19]> mean (float[batch, 3, 4, 4] image) => (float[batch, 3] colour)
    <int64[2] axes = {2, 3}> { colour = ReduceMean <keepdims = 0> (image, axes) }"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "mean.onnx")
    Image.new("RGB", (9, 7), (255, 0, 51)).save(tmp_path / "red.png")
    golden = [{"image": np.zeros((1, 3, 4, 4), np.float32)}]
    spec = make_spec(
        model=tmp_path / "mean.onnx", golden=golden, labels=("r", "g", "b"), preprocessing=ImageInput(width=4, height=4)
    )
    write_bundle(spec, output=tmp_path / "out")
    done = run(tmp_path / "out", tmp_path / "red.png")
    assert done.returncode == 0, done.stderr
    assert "r (1, " in done.stdout
    assert "b (0.2, " in done.stdout


@pytest.fixture(scope="module")
def bert():
    """BERT's tokenizer with a vocabulary of single characters and a few words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    letters = [chr(code) for code in range(33, 127)] + list("éß中国, —¿ﬁıİ")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters), "hello", "##llo", "world"]
    vocabulary = {word: place for place, word in enumerate(dict.fromkeys(words))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=20))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.enable_truncation(12)
    return tokenizer


def long_known(char):
    """Newer characters are classed by the version of Unicode that Python, and tokenizers, were built with."""
    return unicodedata.ucd_3_2_0.category(char) == unicodedata.category(char) != "Cn"


@settings(max_examples=300, deadline=None)
@given(
    text=st.text(st.characters(codec="utf-8").filter(long_known), max_size=30)
    | st.text("aé $[]SEP\t中\u0301\u200b.", max_size=30)
)
@example_(text="Hello, WORLD! naïve [SEP] x\u0000\ufffdy\u3000z 中国 \U0002b820 " + "a" * 25)
def test_bert_s_tokenizer_is_followed_without_the_package(bert, text):
    settings_ = json.loads(bert.to_str())
    assert TEXT.is_wordpiece(settings_)
    assert TEXT.wordpiece(text, None, settings_, 12).ids == bert.encode(text).ids


@pytest.mark.data
def test_bert_s_tokenizer_on_real_sentences(data_folder):
    from tokenizers import Tokenizer

    path = data_folder("sst2_teacher") / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.enable_truncation(64)
    settings_ = json.loads(path.read_text(encoding="utf-8"))
    lines = (data_folder("sst2") / "stsa.binary.test").read_text(encoding="utf-8").splitlines()
    different = [line for line in lines if TEXT.wordpiece(line[2:], None, settings_, 64).ids != tokenizer.encode(line[2:]).ids]
    assert len(lines) == 1821
    assert different == []


def test_it_runs_a_text_with_the_tokenizer_in_the_bundle(make_spec, ragged_path, tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "hello": 5, "world": 9}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "t.json"))
    spec = make_spec(
        model=ragged_path,
        golden=[{"ids": np.array([[5, 9]], np.int64)}],
        labels=(),
        files={"tokenizer.json": tmp_path / "t.json"},
        preprocessing=TokenizerInput(max_length=3, input_ids="ids", attention_mask=None),
    )
    write_bundle(spec, output=tmp_path / "out")
    done = run(tmp_path / "out", "hello world hello world")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "twice: float32[1, 3] from 10 to 18\n"
