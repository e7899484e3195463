"""The teacher is asked once per view of a sample; later processes read what earlier ones wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgeopt.train.objective import TrainBatch
from edgeopt.train.teacher_cache import CachedTeacher, CacheLimits
from edgeopt.train.teachers import Said


class Counting:
    """A teacher whose outputs name view and sample; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def said(self, batch: TrainBatch) -> Said:
        self.asked += 1
        rows = torch.tensor([[100.0 * batch.view + index, 0.5] for index in batch.indices])
        mask = batch.inputs["attention_mask"]
        states = (rows[:, None, :1] + torch.arange(mask.shape[1])[None, :, None] / 8).repeat(1, 1, 96)
        return Said({"logits": rows}, {"layer": states})


def batch(indices: tuple[int, ...], view: int = 0, extra: int = 0) -> TrainBatch:
    lengths = [2 + index % 3 for index in indices]
    mask = torch.tensor([[1] * length + [0] * (max(lengths) + extra - length) for length in lengths])
    return TrainBatch({"input_ids": mask, "attention_mask": mask}, indices, view)


def cache(folder: Path, teacher: Counting, key: str = "key", limits: CacheLimits | None = None) -> CachedTeacher:
    return CachedTeacher(teacher, folder, key=key, size=(2, 10), limits=limits or CacheLimits())


def assert_same(said: Said, one: TrainBatch) -> None:
    fresh = Counting().said(one)
    assert torch.equal(said.outputs["logits"], fresh.outputs["logits"])
    kept = one.inputs["attention_mask"].bool()
    assert torch.allclose(said.recorded["layer"][kept], fresh.recorded["layer"][kept], atol=0.13)  # (float16 of up to 200)


def test_each_view_of_a_sample_is_asked_for_once(tmp_path: Path) -> None:
    teacher = Counting()
    cached = cache(tmp_path, teacher)
    for indices, view in [((0, 1, 2), 0), ((5, 3), 0), ((0, 1, 2), 1)]:
        assert_same(cached.said(batch(indices, view)), batch(indices, view))
    assert teacher.asked == 3
    for indices, view in [((2, 5), 0), ((3, 0, 1), 0), ((1,), 1)]:
        assert_same(cached.said(batch(indices, view, extra=2)), batch(indices, view, extra=2))
    assert teacher.asked == 3
    assert cached.figures.read == 3
    assert_same(cached.said(batch((0, 4))), batch((0, 4)))  # 4 is new
    assert teacher.asked == 4
    assert_same(cached.said(batch((4, 2))), batch((4, 2)))
    assert teacher.asked == 4


def test_a_value_is_the_same_the_first_time_and_later(tmp_path: Path) -> None:
    cached = cache(tmp_path, Counting())
    first, later = cached.said(batch((7, 8))), cached.said(batch((7, 8)))
    assert torch.equal(first.recorded["layer"][1, :4], later.recorded["layer"][1, :4])


def test_another_process_reads_what_was_flushed(tmp_path: Path) -> None:
    first = cache(tmp_path, Counting())
    first.said(batch((0, 1)))
    first.flush()
    first.said(batch((2, 3)))  # written, but not in the index: a kill here loses it
    teacher = Counting()
    second = cache(tmp_path, teacher)
    assert_same(second.said(batch((1, 0))), batch((1, 0)))
    assert teacher.asked == 0
    assert_same(second.said(batch((4, 2))), batch((4, 2)))
    assert_same(second.said(batch((2, 0))), batch((2, 0)))
    assert teacher.asked == 1


@pytest.mark.parametrize("damage", ["key", "short", "index"])
def test_what_does_not_fit_is_not_read(tmp_path: Path, damage: str) -> None:
    first = cache(tmp_path, Counting())
    first.said(batch((0, 1)))
    first.flush()
    if damage == "short":
        for file in tmp_path.glob("*.bin"):
            file.write_bytes(file.read_bytes()[:-3])
    if damage == "index":
        (tmp_path / "index.safetensors").write_bytes(b"damaged")
    teacher = Counting()
    second = cache(tmp_path, teacher, key="other" if damage == "key" else "key")
    assert_same(second.said(batch((1, 0))), batch((1, 0)))
    assert teacher.asked == 1


def test_a_full_cache_asks_the_teacher_for_the_rest(tmp_path: Path) -> None:
    teacher = Counting()
    cached = cache(tmp_path, teacher, limits=CacheLimits(max_bytes=100))
    for _ in range(2):
        for indices in ((0, 1), (2, 3)):
            assert_same(cached.said(batch(indices)), batch(indices))
    assert teacher.asked == 3  # (0, 1) was kept, (2, 3) was not
    assert sum(file.stat().st_size for file in tmp_path.glob("*.bin")) < 3000


class Ends:
    """A teacher with one number per token of the batch, as one that finds where answers start."""

    def said(self, batch: TrainBatch) -> Said:
        return Said({"start_logits": batch.inputs["attention_mask"].float()})


def test_outputs_as_long_as_the_batch_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("edgeopt.train.teacher_cache.progress.note", said.append)
    cached = CachedTeacher(Ends(), tmp_path, key="key", size=(1, 10))
    for indices in [(0, 1), (2, 3), (0, 3), (3,), (2,), (1, 2)]:
        one = batch(indices)
        assert torch.equal(cached.said(one).outputs["start_logits"], one.inputs["attention_mask"].float())
    assert len(said) == 1 and "'start_logits' has another shape in each batch" in said[0]
