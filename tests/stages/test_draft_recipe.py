"""A recipe for a model and its data: it reads back, says what was found, and runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import transformers
from onnx import numpy_helper
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from edgeopt.data.preprocessing import ImageInput
from edgeopt.data.source import preprocessing_of
from edgeopt.data.source_options import Reader
from edgeopt.errors import DataError, RecipeError
from edgeopt.pipeline import Pipeline
from edgeopt.recipe import load_recipe
from edgeopt.stages.draft_recipe import draft_recipe
from tests.generate.conftest import TEXT, VOCABULARY, make_tokenizer
from tests.stages.conftest import write_linear


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_linear(tmp_path / "net.onnx", np.eye(4) * 3)


def rows(path: Path, count: int) -> str:
    labels = np.arange(count) % 4
    np.savez(path, x=np.eye(4, dtype=np.float32)[labels], labels=labels)
    return str(path)


def test_a_file_with_labelled_samples_is_split_and_judged_by_its_metric(model: Path, tmp_path: Path) -> None:
    draft = draft_recipe(str(model), rows(tmp_path / "rows.npz", 400), tmp_path / "r.toml")
    recipe = load_recipe(str(tmp_path / "r.toml"))
    assert (recipe.model, recipe.task, recipe.data.calibration) == (
        str(model),
        "single-label-classification",
        str(tmp_path / "rows.npz"),
    )
    assert draft.notes == ()
    assert "judged by accuracy" in draft.text
    pipeline = Pipeline(recipe.model_copy(update={"profile": False, "allow_worse": True}), tmp_path / "run")
    verify = pipeline.run().outcomes[2].artifact.facts
    assert (verify["metric"], verify["samples"], verify["variants"][0]["accuracy"]) == ("accuracy", 320, 1.0)
    assert verify["variants"][1]["paired"]["method"] == "mcnemar"


def test_without_data_random_inputs_are_written_and_said(model: Path, tmp_path: Path) -> None:
    draft = draft_recipe(str(model), None, tmp_path / "r.toml")
    assert len(list((tmp_path / "r-random-inputs").glob("*.npz"))) == 32
    assert "random inputs" in draft.notes[0]
    assert load_recipe(str(tmp_path / "r.toml")).data.set == str(tmp_path / "r-random-inputs")


def test_a_module_becomes_a_teacher_with_hints(tmp_path: Path) -> None:
    draft = draft_recipe("edgeopt.models.residual_cnn:ResidualCNN", "digits", tmp_path / "r.toml")
    recipe = load_recipe(str(tmp_path / "r.toml"))
    assert recipe.teacher is not None
    assert (recipe.teacher.source, recipe.data.set) == ("edgeopt.models.residual_cnn:ResidualCNN", "digits")
    assert "# [prune]" in draft.text


def test_what_cannot_be_written_is_said(model: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"must end in \.toml"):
        draft_recipe(str(model), None, tmp_path / "recipe")
    (tmp_path / "r.toml").write_text("")
    with pytest.raises(RecipeError, match="exists"):
        draft_recipe(str(model), None, tmp_path / "r.toml")
    with pytest.raises(DataError, match="name samples with --data"):
        draft_recipe("edgeopt.models.residual_cnn:ResidualCNN", None, tmp_path / "s.toml")


def _classifier(path: Path) -> Path:
    """Write a classifier of images of 8×6 pixels: the mean of each channel."""
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[n, 3, 6, 8] photo) => (float[n, 3] scores) '
        "{ scores = ReduceMean <keepdims = 0> (photo, axes) }"
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, 3], np.int64), "axes"))
    onnx.save(model, path)
    return path


def test_the_preprocessing_of_photographs_is_assumed_where_nothing_states_it(tmp_path: Path) -> None:
    for channel, colour in enumerate(("a red", "b green", "c blue")):
        (tmp_path / "photos" / colour).mkdir(parents=True)
        for number in range(3):
            pixels = np.zeros((10, 10, 3), np.uint8)
            pixels[..., channel] = 200 + number
            Image.fromarray(pixels).save(tmp_path / "photos" / colour / f"{number}.png")
    draft = draft_recipe(str(_classifier(tmp_path / "net.onnx")), str(tmp_path / "photos"), tmp_path / "r.toml")
    assert any("[data.preprocessing] is assumed" in note for note in draft.notes)
    recipe = load_recipe(str(tmp_path / "r.toml"))
    steps = recipe.data.preprocessing
    assert isinstance(steps, ImageInput)
    assert (steps.input, steps.width, steps.height, steps.colour, steps.mean[0]) == ("photo", 8, 6, "RGB", 123.675)
    pipeline = Pipeline(recipe.model_copy(update={"profile": False, "allow_worse": True}), tmp_path / "run")
    verify = pipeline.run().outcomes[2].artifact.facts
    assert (verify["metric"], verify["samples"], verify["variants"][0]["accuracy"]) == ("accuracy", 9, 1.0)


def test_a_model_without_a_head_for_the_labels_gets_a_new_one(tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "bob", "saw", "rome"]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = transformers.BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    (tmp_path / "tags.conll").write_text("Bob B-PER\nsaw O\nRome B-LOC\n\n" * 40, encoding="utf-8")
    draft = draft_recipe(str(folder), str(tmp_path / "tags.conll"), tmp_path / "r.toml")
    assert any("no head for these labels" in note and "token-classification with 3 classes" in note for note in draft.notes)
    recipe = load_recipe(str(tmp_path / "r.toml"))
    assert recipe.teacher is not None and recipe.teacher.train is not None and recipe.data.train is not None
    assert recipe.teacher.arguments["labels"] == ["O", "B-LOC", "B-PER"]
    verify = Pipeline(recipe.model_copy(update={"profile": False, "allow_worse": True}), tmp_path / "run").run()
    facts = next(outcome.artifact.facts for outcome in verify.outcomes if "variants" in outcome.artifact.facts)
    assert (facts["metric"], facts["samples"]) == ("F1", 4)


def test_control_characters_of_a_name_do_not_break_the_recipe(tmp_path: Path) -> None:
    place = tmp_path / "n\x1b[31met"
    place.mkdir()
    draft = draft_recipe(str(write_linear(place / "net.onnx", np.eye(4))), None, tmp_path / "r.toml")
    assert "n\\x1b[31met" in draft.text and load_recipe(str(tmp_path / "r.toml")).model == str(place / "net.onnx")


def test_a_language_model_gets_the_tables_of_language_models(tmp_path: Path) -> None:
    make_tokenizer(tmp_path / "lm")
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.LlamaConfig(**sizes, vocab_size=VOCABULARY, max_position_embeddings=64)
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "lm")
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    draft_recipe(str(tmp_path / "lm"), f"{tmp_path}/text.txt?max_length=16", tmp_path / "r.toml")
    recipe = load_recipe(str(tmp_path / "r.toml"))
    assert recipe.language is not None
    assert recipe.generation
    assert recipe.generation.contexts == [32], "half of what the model reads"
    assert recipe.verify.max_drop_points == 20.0


def test_a_speech_models_processor_file_is_not_taken_for_one_of_images(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text('{"feature_extractor_type": "Wav2Vec2FeatureExtractor"}')
    (tmp_path / "said.csv").write_text("file,text\na.wav,hello\n")
    assert preprocessing_of(f"{tmp_path}/said.csv?audio=file&text=text", Reader(("x",), folder=tmp_path)) is None
