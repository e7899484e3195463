"""The store: content-addressed, whole or not there, checked when read, one process at a time."""

from __future__ import annotations

import json
import multiprocessing
import resource
import time
from pathlib import Path

import pytest

from edgeopt.errors import IntegrityError, MachineError
from edgeopt.store import Artifact, Store, digest_of, key_of

INGREDIENTS = {"stage": "teach", "options": {"width": 3}}


def finish(store: Store, content: bytes = b"weights", ingredients: dict[str, object] = INGREDIENTS) -> Artifact:
    workspace = store.workspace("teach", key_of(ingredients))
    (workspace.output / "sub").mkdir()
    (workspace.output / "model.bin").write_bytes(content)
    (workspace.output / "sub" / "labels.txt").write_bytes(b"a b c")
    return store.finish("teach", ingredients, {"accuracy": 0.5}, 1.25)


def test_a_finished_stage_is_found_with_its_facts(tmp_path: Path) -> None:
    made = finish(Store(tmp_path))
    found = Store(tmp_path).find("teach", key_of(INGREDIENTS))
    assert found == made
    assert found is not None
    assert found.facts == {"accuracy": 0.5}
    assert (found.folder / "sub" / "labels.txt").read_bytes() == b"a b c"


def test_a_folder_has_the_digest_of_its_artifact(tmp_path: Path) -> None:
    made = finish(Store(tmp_path))
    assert digest_of(made.folder) == made.digest
    (made.folder / "sub" / "labels.txt").write_bytes(b"a b d")
    assert digest_of(made.folder) != made.digest


def test_another_key_is_not_found(tmp_path: Path) -> None:
    finish(Store(tmp_path))
    assert Store(tmp_path).find("teach", key_of({**INGREDIENTS, "seed": 1})) is None


def test_the_digest_is_of_the_content_alone(tmp_path: Path) -> None:
    first = finish(Store(tmp_path / "a"))
    other_key = finish(Store(tmp_path / "b"), ingredients={**INGREDIENTS, "seed": 1})
    other_content = finish(Store(tmp_path / "c"), content=b"Weights")
    assert first.digest == other_key.digest
    assert first.digest != other_content.digest


@pytest.mark.parametrize("name", ["model.bin", "sub/labels.txt", "artifact.json"])
def test_every_flipped_byte_is_noticed_and_named(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path)
    path = finish(store).folder / name
    content = path.read_bytes()
    for position in range(0, len(content), max(1, len(content) // 40)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(IntegrityError, match=name):
            store.find("teach", key_of(INGREDIENTS))
    path.write_bytes(content)
    assert store.find("teach", key_of(INGREDIENTS)) is not None


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (finish(store).folder / "model.bin").unlink()
    with pytest.raises(IntegrityError, match=r"model\.bin is missing"):
        store.find("teach", key_of(INGREDIENTS))


def test_a_half_written_stage_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    workspace = store.workspace("teach", key_of(INGREDIENTS))
    (workspace.output / "model.bin").write_bytes(b"hal")
    (workspace.checkpoint / "step").write_bytes(b"7")
    assert store.find("teach", key_of(INGREDIENTS)) is None
    again = store.workspace("teach", key_of(INGREDIENTS))
    assert not list(again.output.iterdir())
    assert (again.checkpoint / "step").read_bytes() == b"7"


def test_a_damaged_artifact_can_be_set_aside_and_made_anew(tmp_path: Path) -> None:
    store = Store(tmp_path)
    finish(store)
    aside = store.set_aside("teach", key_of(INGREDIENTS))
    assert (aside / "model.bin").is_file()
    assert store.find("teach", key_of(INGREDIENTS)) is None
    assert finish(store) == store.find("teach", key_of(INGREDIENTS))


def test_latest_is_the_newest_of_the_stage(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.latest("teach") is None
    finish(store)
    newer = finish(store, ingredients={**INGREDIENTS, "seed": 2})
    found = store.latest("teach")
    assert found is not None
    assert found.ingredients["seed"] == 2
    assert found.digest == newer.digest


def _hold(folder: str, seconds: float, entered: str) -> None:
    with Store(Path(folder)).lock():
        Path(entered).write_text("in", encoding="utf-8")
        time.sleep(seconds)


def test_a_second_process_waits_for_the_first(tmp_path: Path) -> None:
    entered = tmp_path / "entered"
    process = multiprocessing.get_context("spawn").Process(target=_hold, args=(str(tmp_path / "run"), 1.0, str(entered)))
    process.start()
    while not entered.is_file():
        time.sleep(0.01)
    start = time.monotonic()
    with Store(tmp_path / "run").lock():
        waited = time.monotonic() - start
        assert process.exitcode == 0 or waited > 0.2
    process.join()
    assert process.exitcode == 0


def test_a_full_disk_is_a_clear_error_and_leaves_what_was_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    before = finish(store)
    bigger = {**INGREDIENTS, "seed": 1}
    workspace = store.workspace("teach", key_of(bigger))
    (workspace.output / "model.bin").write_bytes(b"x")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        with pytest.raises(MachineError, match="the disk is full"):
            store.finish("teach", bigger, {"text": "y" * 1000}, 0.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.find("teach", key_of(INGREDIENTS)) == before
    assert store.find("teach", key_of(bigger)) is None
    assert json.loads((before.folder / "artifact.json").read_text(encoding="utf-8"))["stage"] == "teach"


def test_an_artifact_without_its_record_is_damaged_and_not_in_the_way(tmp_path: Path) -> None:
    """Otherwise the stage would run again for hours and then find its place taken."""
    store = Store(tmp_path)
    (finish(store).folder / "artifact.json").unlink()
    with pytest.raises(IntegrityError, match=r"artifact\.json is missing"):
        store.find("teach", key_of(INGREDIENTS))
    store.set_aside("teach", key_of(INGREDIENTS))
    assert finish(store) == store.find("teach", key_of(INGREDIENTS))
