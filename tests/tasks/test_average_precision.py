"""Average precision: the figures of pycocotools itself, from matches that can be drawn again."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest

from edgeopt.data.annotations import BoxTruth
from edgeopt.tasks import average_precision as module
from edgeopt.tasks.average_precision import Detections, average_precision, overlap, summaries

pytest.importorskip("pycocotools")


def planted(seed: int) -> tuple[list[Detections], list[BoxTruth]]:
    generator = np.random.default_rng(seed)
    answers, truths = [], []
    for _ in range(12):
        count = int(generator.integers(0, 6))
        corner, size = generator.uniform(0, 80, (count, 2)), generator.uniform(10, 40, (count, 2))
        boxes = np.concatenate([corner, corner + size], axis=1)
        classes = generator.integers(0, 3, count)
        truths.append(BoxTruth(boxes.astype(np.float32), classes, generator.random(count) < 0.1))
        moved = np.concatenate([boxes + generator.normal(0, 3, boxes.shape), generator.uniform(0, 100, (3, 4))])
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        scores = generator.random(len(moved))
        order = np.argsort(-scores)
        numbers = np.concatenate([classes, generator.integers(0, 3, 3)])
        answers.append(Detections(moved[order], scores[order], numbers[order]))
    return answers, truths


def official(answers: list[Detections], truths: list[BoxTruth]) -> tuple[float, float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        pair = (COCO(), COCO())
        pair[0].dataset = module._dataset(len(truths), [0, 1, 2], module._annotations(truths))
        pair[1].dataset = module._dataset(len(truths), [0, 1, 2], module._results(answers))
        for one in pair:
            one.createIndex()
        evaluation = COCOeval(*pair, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_both_figures_are_those_of_pycocotools(seed: int) -> None:
    answers, truths = planted(seed)
    whole, half = summaries(average_precision(answers, truths))
    assert (whole.value, half.value) == pytest.approx(official(answers, truths), abs=1e-9)


def test_images_drawn_again_count_again() -> None:
    answers, truths = planted(4)
    whole = summaries(average_precision(answers, truths))[0]
    rows = np.array([0, 0, 3, 5, 5, 5, 7, 8, 9, 10, 11, 1])
    again, _ = summaries(average_precision([answers[row] for row in rows], [truths[row] for row in rows]))
    assert whole.compute(rows) == pytest.approx(again.value, abs=0.02)  # (ties of equal scores may be ordered otherwise)


def test_overlaps() -> None:
    ours = np.array([[0.0, 0.0, 2.0, 2.0]])
    theirs = np.array([[1.0, 1.0, 3.0, 3.0], [0.0, 0.0, 2.0, 2.0], [5.0, 5.0, 6.0, 6.0]])
    assert overlap(ours, theirs)[0].tolist() == pytest.approx([1 / 7, 1.0, 0.0])
