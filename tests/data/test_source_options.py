"""What is known where samples are read: the input they feed, their tokenizer, the names of their classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeopt.data.source_options import Asked, Reader, SourceOptions, need_tokenizer, text_options
from edgeopt.errors import DataError, RecipeError


def asked(reader: Reader, **options: object) -> Asked:
    return Asked("photos?x", "photos", SourceOptions.read(options, where="photos?x"), reader)


@pytest.mark.parametrize(
    ("option", "stated", "inputs", "expected"),
    [
        ("a", "b", ("c", "d"), "a"),
        (None, "b", ("c", "d"), "b"),
        (None, None, ("c",), "c"),
        ("a", None, (), "a"),
    ],
)
def test_the_option_counts_before_the_preprocessing_and_that_before_the_only_input(
    option: str | None, stated: str | None, inputs: tuple[str, ...], expected: str
) -> None:
    options = {} if option is None else {"input": option}
    assert asked(Reader(inputs), **options).input_name(stated=stated) == expected


@pytest.mark.parametrize(("inputs", "said"), [(("a", "b"), "the model has a, b: write"), ((), "the model is not known: write")])
def test_which_of_several_inputs_is_not_guessed(inputs: tuple[str, ...], said: str) -> None:
    with pytest.raises(DataError, match=rf"photos\?x: which model input does it feed\? {said} \?input=NAME"):
        asked(Reader(inputs)).input_name()


def test_the_tokenizer_is_the_sources_else_the_readers_else_in_the_models_folder() -> None:
    option, reader, folder = Path("option"), Path("reader"), Path("folder")
    assert asked(Reader(tokenizer=reader, folder=folder), tokenizer="option").tokenizer() == option
    assert asked(Reader(tokenizer=reader, folder=folder)).tokenizer() == reader
    assert asked(Reader(folder=folder)).tokenizer() == folder
    with pytest.raises(DataError, match=r"photos: texts need a tokenizer: .* --tokenizer"):
        asked(Reader()).tokenizer()
    assert need_tokenizer(folder, "x") == folder


def test_names_of_classes_are_the_sources_else_the_models() -> None:
    assert asked(Reader(names=("a", "b")), classes="x,y").names == ("x", "y")
    assert asked(Reader(names=("a", "b"))).names == ("a", "b")
    assert asked(Reader()).names == ()


def test_texts_are_made_for_the_models_inputs_or_ids_and_mask() -> None:
    options = SourceOptions.read({"max_length": "7"}, where="x")
    assert text_options(options, Reader(("input_ids", "token_type_ids"))).inputs == ("input_ids", "token_type_ids")
    found = text_options(options, Reader())
    assert (found.max_length, found.inputs) == (7, ("input_ids", "attention_mask"))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"max_length": "0"}, "max_length"),
        ({"rate": "0"}, "rate"),
        ({"separator": "space"}, "separator"),
        ({"normalise": "maybe"}, "normalise"),
        ({"lable": "x"}, r"unknown key 'lable'.*did you mean 'label"),
    ],
)
def test_options_that_no_source_takes_are_refused(values: dict[str, str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        SourceOptions.read(values, where="x")


def test_a_model_that_writes_texts_is_not_told_of_which_text_a_token_is() -> None:
    inputs = ("input_ids", "attention_mask", "token_type_ids")
    assert text_options(SourceOptions(), Reader(inputs, task="text-generation")).inputs == inputs[:2]
    assert text_options(SourceOptions(), Reader(inputs)).inputs == inputs
