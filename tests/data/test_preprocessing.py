import pytest

from edgeopt.bundle import ArrayInput, ImageInput, TokenizerInput, read_preprocessing
from edgeopt.errors import RecipeError


def test_each_kind_is_read_by_its_name():
    assert read_preprocessing({"kind": "array"}, where="r") == ArrayInput()
    image = read_preprocessing({"kind": "image", "width": 320, "height": 240, "mean": [127.0], "scale": [128.0]}, where="r")
    assert isinstance(image, ImageInput)
    assert (image.width, image.height, image.colour, image.layout) == (320, 240, "RGB", "NCHW")
    text = read_preprocessing({"kind": "tokenizer", "max_length": 64}, where="r")
    assert isinstance(text, TokenizerInput)
    assert text.file == "tokenizer.json"


def test_what_is_written_reads_back():
    image = ImageInput(width=8, height=8, colour="GREY", layout="NHWC", shorter_edge=9)
    assert read_preprocessing(image.model_dump(mode="json"), where="r") == image


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"kind": "imag"},
            r"recipe: preprocessing kind is 'imag' \(did you mean 'image'\?\); allowed: array, image, tokenizer",
        ),
        ({}, "preprocessing kind is None"),
        ({"kind": "image", "width": 8, "height": 8, "widht": 1}, r"unknown key 'widht' \(did you mean 'width'\?\)"),
        ({"kind": "image", "width": 8}, "'height' is missing"),
        ({"kind": "image", "width": 8, "height": 0}, "'height' is 0"),
        ({"kind": "image", "width": 8, "height": 8, "scale": [0.0]}, "scale contains 0"),
        ({"kind": "image", "width": 8, "height": 8, "mean": [0.0, 1.0]}, "mean has 2 values; 1 or 3"),
        ({"kind": "image", "width": 8, "height": 8, "shorter_edge": 7}, "smaller than the crop"),
        ({"kind": "tokenizer", "max_length": "64"}, "max_length"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_allowed(values, message):
    with pytest.raises(RecipeError, match=message) as caught:
        read_preprocessing(values, where="recipe")
    assert "\n" not in str(caught.value)
