"""Decoding: each kind against values worked out by hand or by a slow plain loop."""

from typing import Any

import numpy as np
import pytest

from edgeopt.device_code import inference
from edgeopt.errors import RecipeError
from edgeopt.tasks.decoding import (
    AnswerSpan,
    Argmax,
    Arrays,
    Boxes,
    Ctc,
    Embedding,
    MultiLabel,
    Segmentation,
    Spans,
    Text,
    Value,
    decode,
    read_decoding,
)

CODE = inference("decoding")


def place(size: tuple[int, int], input_size: tuple[int, int], scale: float = 1.0, offset: tuple[float, float] = (0, 0)) -> Any:
    return CODE.Placement(size, input_size, (scale, scale), offset)


def test_argmax_gives_the_best_classes_with_softmax_scores() -> None:
    logits = np.log(np.array([[0.1, 0.7, 0.2], [0.5, 0.2, 0.3]], np.float32))
    answers = decode(Argmax(top_k=2), {"logits": logits}, CODE.Context(labels=("a", "b", "c")))
    assert [[entry["label"] for entry in answer["classes"]] for answer in answers] == [["b", "c"], ["a", "c"]]
    assert answers[0]["classes"][0]["score"] == pytest.approx(0.7, abs=1e-6)


def test_multi_label_gives_every_class_above_the_threshold() -> None:
    (answer,) = decode(
        MultiLabel(threshold=0.6), {"logits": np.array([[2.0, -1.0, 0.5]])}, CODE.Context(labels=("a", "b", "c"))
    )
    assert [(entry["label"], round(entry["score"], 4)) for entry in answer["classes"]] == [("a", 0.8808), ("c", 0.6225)]


TEXT = "Ada Lovelace met Bob in Paris."
OFFSETS = [(0, 0), (0, 3), (4, 8), (8, 12), (13, 16), (17, 20), (21, 23), (24, 29), (29, 30), (0, 0)]
TAGS = ["O", "B-PER", "I-PER", "B-LOC", "O", "B-PER", "O", "B-LOC", "I-PER", "O"]
NAMES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def tagged() -> tuple[np.ndarray, Any]:
    logits = np.full((1, len(TAGS) + 2, len(NAMES)), -20.0)  # two rows of padding behind
    for row, tag in enumerate(TAGS):
        logits[0, row, NAMES.index(tag)] = 20.0
    return logits, CODE.Tokens(TEXT, OFFSETS, [None, *[0] * 8, None])


def test_spans_take_the_tag_of_a_words_first_token() -> None:
    logits, tokens = tagged()
    (answer,) = decode(Spans(), {"logits": logits}, CODE.Context(labels=NAMES, tokens=[tokens]))
    found = [(span["label"], span["text"], span["start"], span["end"]) for span in answer["spans"]]
    assert found == [("PER", "Ada Lovelace", 0, 12), ("PER", "Bob", 17, 20), ("LOC", "Paris.", 24, 30)]


def test_spans_by_token_start_where_the_kind_changes() -> None:
    logits, tokens = tagged()
    (answer,) = decode(Spans(words=False), {"logits": logits}, CODE.Context(labels=NAMES, tokens=[tokens]))
    found = [(span["label"], span["text"]) for span in answer["spans"]]
    assert found == [("PER", "Ada Love"), ("LOC", "lace"), ("PER", "Bob"), ("LOC", "Paris"), ("PER", ".")]


def test_an_answer_lies_in_the_second_text_and_ends_after_its_start() -> None:
    start, end = np.full((1, 6), -9.0), np.full((1, 6), -9.0)
    start[0, [1, 4]], end[0, [1, 3, 5]] = (9.0, 5.0), (9.0, 8.0, 4.0)  # token 1 is the question, the end at 3 is before 4
    tokens = CODE.Tokens("ab cd", [(0, 0), (0, 2), (0, 0), (0, 1), (1, 2), (3, 5)], [None, 0, None, 1, 1, 1])
    (answer,) = decode(AnswerSpan(), {"start_logits": start, "end_logits": end}, CODE.Context(tokens=[tokens]))
    assert (answer["text"], answer["start"], answer["end"]) == ("b cd", 1, 5)


def test_no_answer_wins_where_it_is_allowed() -> None:
    start, end = np.array([[5.0, 0.0, 1.0]]), np.array([[5.0, 0.0, 1.0]])
    tokens = CODE.Tokens("xy", [(0, 0), (0, 1), (1, 2)], [None, 1, 1])
    outputs = {"start_logits": start, "end_logits": end}
    assert decode(AnswerSpan(may_be_empty=True), outputs, CODE.Context(tokens=[tokens]))[0]["text"] == ""
    assert decode(AnswerSpan(), outputs, CODE.Context(tokens=[tokens]))[0]["text"] == "y"


def plain_nms(boxes: list[list[float]], scores: list[float], threshold: float) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda k: -scores[k]):
        for other in kept:
            a, b = boxes[index], boxes[other]
            inner = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
            union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner
            if inner / union > threshold:
                break
        else:
            kept.append(index)
    return kept


def test_suppression_equals_a_plain_loop() -> None:
    random = np.random.default_rng(0)
    corner = random.uniform(0, 80, (60, 2))
    boxes = np.concatenate([corner, corner + random.uniform(5, 20, (60, 2))], axis=1)
    scores = random.uniform(0.4, 1, (60, 1))
    outputs = {"boxes": boxes[None], "scores": scores[None]}
    (answer,) = decode(Boxes(boxes="boxes", scores="scores"), outputs, CODE.Context(placements=[place((100, 100), (100, 100))]))
    expected = plain_nms(boxes.tolist(), scores[:, 0].tolist(), 0.45)
    assert [entry["box"] for entry in answer["boxes"]] == [pytest.approx(boxes[k]) for k in expected]


def test_yolox_rows_become_boxes_of_the_letterboxed_image() -> None:
    rows = np.zeros((1, 4 * 4 + 2 * 2, 4 + 1 + 2))
    rows[0, 6] = [0.5, 0.25, np.log(2), np.log(1), 0.9, 0.1, 0.8]  # stride 8: cell (2, 1), centre (20, 10), size 16 × 8
    decoding = Boxes(objectness=True, encoding="grid", strides=[8, 16])
    context = CODE.Context(labels=("cat", "dog"), placements=[place((64, 32), (32, 32), scale=0.5, offset=(0, 0))])
    (answer,) = decode(decoding, {"output": rows}, context)
    (found,) = answer["boxes"]
    assert (found["label"], found["box"]) == ("dog", pytest.approx([24, 12, 56, 28]))
    assert found["score"] == pytest.approx(0.72)


def test_relative_corners_with_a_background_class() -> None:
    outputs = {"scores": np.array([[[0.1, 0.9], [0.95, 0.05]]]), "boxes": np.array([[[0.25, 0.5, 0.5, 1.0], [0, 0, 1, 1]]])}
    decoding = Boxes(boxes="boxes", scores="scores", unit="relative", background=0)
    (answer,) = decode(decoding, outputs, CODE.Context(("none", "face"), [CODE.Placement((640, 480), (320, 240), (0.5, 0.5))]))
    assert [(entry["label"], entry["box"]) for entry in answer["boxes"]] == [("face", pytest.approx([160, 240, 320, 480]))]


def test_fastestdet_maps() -> None:
    maps = np.zeros((1, 6, 2, 2))
    maps[0, :, 1, 0] = [0.5, 0.0, np.arctanh(0.5), 0.0, 0.0, 0.25]  # cell (0, 1): centre (0, 1.5) cells, half the image
    decoding = Boxes(transposed=True, objectness=True, order="objectness-box-classes", encoding="tanh-grid", strides=[16],
                     powers=(0.6, 0.4))  # fmt: skip
    (answer,) = decode(decoding, {"output": maps}, CODE.Context(placements=[place((32, 32), (32, 32))]))
    (found,) = answer["boxes"]
    assert found["box"] == pytest.approx([0, 16, 8, 32])
    assert found["score"] == pytest.approx(0.5**0.6 * 0.25**0.4)


def test_anchors_and_distances() -> None:
    anchored = Boxes(encoding="anchors", anchors=[[0.5, 0.5, 0.2, 0.4]], unit="relative")
    context = CODE.Context(placements=[place((100, 100), (100, 100))])
    (answer,) = decode(anchored, {"o": np.array([[[1.0, 0.0, 0.0, np.log(2) / 0.2, 0.9]]])}, context)
    assert answer["boxes"][0]["box"] == pytest.approx([42, 10, 62, 90])
    distances = Boxes(encoding="distances", strides=[50])
    rows = np.zeros((1, 4, 5))
    rows[0, 3] = [0.5, 0.25, 0.25, 0.5, 0.8]
    (answer,) = decode(distances, {"o": rows}, context)
    assert answer["boxes"][0]["box"] == pytest.approx([50, 62.5, 87.5, 100])


def test_segmentation_covers_the_image_and_not_its_padding() -> None:
    logits = np.full((1, 2, 4, 4), -1.0)
    logits[0, 1, :2] = 1.0  # the upper half of the input, whose lower half is padding
    context = CODE.Context(("ground", "sky"), [place((8, 4), (16, 16), scale=2.0)])
    (answer,) = decode(Segmentation(bilinear=False), {"o": logits}, context)
    assert answer["classes"] == [{"label": "sky", "index": 1, "share": 1.0}]
    assert answer["mask"] == [[1, 32]]


def test_bilinear_segmentation_equals_interpolation_by_hand() -> None:
    logits = np.zeros((1, 2, 1, 2))
    logits[0, 0, 0], logits[0, 1, 0] = (1.0, -3.0), (-1.0, 3.0)  # difference 2, −6: zero at a quarter of the way
    (answer,) = decode(Segmentation(), {"o": logits}, CODE.Context(placements=[place((16, 1), (16, 1))]))
    assert answer["mask"] == [[0, 6], [1, 10]]  # centres 0.5, 1.5 … lie at (x/8 − 0.5): 0.25 is x = 6


def test_ctc_merges_repeats_and_drops_blanks() -> None:
    best = [0, 1, 1, 0, 1, 2, 3, 3, 1]
    logits = np.eye(4)[best][None]
    (answer,) = decode(Ctc(tokens=["-", "a", "b", "|"]), {"o": logits})
    assert answer == {"kind": "text", "text": "aab a"}


def test_text_asks_the_tokenizer() -> None:
    context = CODE.Context(to_text=lambda ids: " ".join(f"w{token}" for token in ids))
    assert decode(Text(), {"ids": np.array([[1, 2]])}, context) == [{"kind": "text", "text": "w1 w2"}]


@pytest.mark.parametrize(
    ("pooling", "expected"), [("mean", [2.0, 3.0]), ("max", [3.0, 4.0]), ("first", [1.0, 2.0]), ("last", [3.0, 4.0])]
)
def test_pooling_leaves_padding_out(pooling: Any, expected: list[float]) -> None:
    states = np.array([[[1.0, 2.0], [3.0, 4.0], [100.0, 100.0]]])
    context = CODE.Context(mask=np.array([[1, 1, 0]]))
    (answer,) = decode(Embedding(pooling=pooling, normalise=False), {"o": states}, context)
    assert answer["vector"] == expected
    (answer,) = decode(Embedding(pooling=pooling), {"o": states}, context)
    assert answer["vector"] == pytest.approx(np.array(expected) / np.linalg.norm(expected))


def test_values_and_arrays() -> None:
    outputs = {"age": np.array([[0.5], [0.25]], np.float32)}
    assert [a["values"] for a in decode(Value(factor=100.0, offset=1.0), outputs)] == [{"age": 51.0}, {"age": 26.0}]
    assert decode(Arrays(), outputs)[1]["arrays"] == {"age": {"dtype": "float32", "shape": [1], "values": [0.25]}}


def test_decoding_is_read_back_from_its_own_json() -> None:
    for decoding in (Argmax(), Spans(), Boxes(encoding="grid", strides=[8]), Embedding(), Value(), Ctc(tokens=["a"])):
        assert read_decoding(decoding.model_dump(mode="json"), where="here") == decoding


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "argmin"}, "did you mean 'argmax'"),
        ({"kind": "boxes", "encoding": "grid"}, "needs strides"),
        ({"kind": "boxes", "boxes": "b"}, "named together"),
        ({"kind": "argmax", "topk": 3}, "unknown key 'topk'"),
    ],
)
def test_wrong_decodings_are_refused_in_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        read_decoding(values, where="here")


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16])
def test_the_best_of_quantized_scores_is_the_largest(dtype: type) -> None:
    low = np.iinfo(dtype).min
    scores = np.array([[low, 100, 90, low + 1]], dtype)
    decoding = {"kind": "argmax", "output": None, "activation": "none", "top_k": 4}
    (answer,) = inference("decoding").decode(decoding, {"y": scores})
    assert [entry["index"] for entry in answer["classes"]] == [1, 2, 3, 0]


def answer_of(kind: str, score: float) -> dict[str, object]:
    """An answer of a kind of which one number is `score`."""
    entry = {"label": "a", "score": score, "box": [0, 0, 5, 5]}
    return {"kind": kind, "size": [9, 9], "boxes": [entry], "classes": [entry], "vector": [score, 1.0]}


@pytest.mark.parametrize("kind", ["embedding", "classes", "labels", "boxes"])
def test_an_answer_that_is_no_number_agrees_with_nothing(kind: str) -> None:
    want = answer_of(kind, 0.9)
    assert inference("compare").disagreement(answer_of(kind, float("nan")), want) is not None
    assert inference("compare").disagreement(want, want) is None
