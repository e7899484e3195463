"""The decoding that a task's outputs suggest: the usual forms of detectors, classifiers, taggers and encoders."""

import numpy as np
import pytest

from edgeopt.bundle.guess import guess_decoding, read_decoding_file
from edgeopt.data.preprocessing import ArrayInput, ImageInput, TokenizerInput
from edgeopt.errors import DataError, RecipeError

IMAGE = ImageInput(width=64, height=64)
TEXT = TokenizerInput(max_length=8)


def guessed(task, outputs, steps=IMAGE, labels=()):
    return guess_decoding(task, outputs, preprocessing=steps, labels=labels)


def logits(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32) * 8


def test_classifiers():
    assert guessed("image-classification", [("y", logits(1, 3))], labels=("a", "b", "c")).activation == "softmax"
    scores = np.array([[0.2, 0.5, 0.3]], np.float32)
    assert guessed("image-classification", [("y", scores)], labels=("a", "b", "c")).activation == "none"
    assert guessed("generic", [("y", logits(1, 3))], ArrayInput(), ("a", "b", "c")).kind == "argmax"
    assert guessed("generic", [("y", logits(1, 3))], ArrayInput()).kind == "arrays"
    assert guessed("multi-label-classification", [("y", logits(1, 3))]).kind == "multi-label"


def test_texts():
    assert guessed("token-classification", [("y", logits(1, 8, 3))], TEXT, ("O", "B-X", "I-X")).kind == "spans"
    assert guessed("generic", [("y", logits(1, 8, 3))], TEXT, ("O", "B-X", "I-X")).kind == "spans"
    answer = guessed("question-answering", [("start_logits", logits(1, 8)), ("end_logits", logits(1, 8))], TEXT)
    assert (answer.start, answer.end) == ("start_logits", "end_logits")
    both = [("last_hidden_state", logits(1, 8, 4)), ("sentence_embedding", logits(1, 4))]
    assert guessed("sentence-similarity", both, TEXT).output == "sentence_embedding"
    assert guessed("feature-extraction", both[:1], TEXT).output == "last_hidden_state"


def test_detectors():
    yolox = guessed("object-detection", [("output", logits(1, 64 + 16 + 4, 85))])
    assert (yolox.encoding, yolox.strides, yolox.objectness) == ("grid", [8, 16, 32], True)
    other = guessed("object-detection", [("output", logits(1, 100, 85))])
    assert (other.encoding, other.objectness, other.unit) == ("cxcywh", True, "pixels")
    assert guessed("object-detection", [("output", logits(1, 14, 200))]).transposed
    assert guessed("object-detection", [("output", logits(1, 85, 4, 4))]).encoding == "tanh-grid"
    boxes = np.sort(np.random.default_rng(0).uniform(size=(1, 9, 4)).astype(np.float32), axis=-1)
    scores = np.stack([np.full((1, 9), 0.9), np.full((1, 9), 0.1)], axis=-1)
    face = guessed("object-detection", [("scores", scores), ("boxes", boxes)], labels=("none", "face"))
    assert (face.boxes, face.scores, face.unit, face.background) == ("boxes", "scores", "relative", 0)
    offsets = guessed("object-detection", [("scores", scores), ("boxes", logits(1, 9, 4))])
    assert offsets.kind == "arrays"  # offsets from anchors that are not known: no boxes are better than wrong ones
    detr = guessed("object-detection", [("logits", logits(1, 9, 5)), ("pred_boxes", boxes)])
    assert (detr.encoding, detr.activation, detr.background, detr.iou_threshold) == ("cxcywh", "softmax", -1, None)


def test_a_decoding_file_is_read_and_refused_in_one_line(tmp_path):
    file = tmp_path / "d.toml"
    file.write_text('[decoding]\nkind = "boxes"\nencoding = "grid"\nstrides = [8]\npowers = [0.6, 0.4]\n', encoding="utf-8")
    assert read_decoding_file(file).powers == (0.6, 0.4)
    file.write_text('kind = "boxen"\n', encoding="utf-8")
    with pytest.raises(RecipeError, match="did you mean 'boxes'"):
        read_decoding_file(file)
    (tmp_path / "d.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(DataError, match="not a table of decoding options"):
        read_decoding_file(tmp_path / "d.json")


@pytest.mark.parametrize("shapes", [((1, 0, 4), (1, 0, 3)), ((1, 0, 6),)])
def test_a_detector_that_found_nothing_says_nothing_of_its_form(shapes):
    outputs = [(f"y{number}", np.zeros(shape, np.float32)) for number, shape in enumerate(shapes)]
    assert guessed("object-detection", outputs).kind == "arrays"
