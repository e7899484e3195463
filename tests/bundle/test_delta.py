"""Deltas: only what changed is sent, every part is checked, and damage is refused without a half-made bundle."""

import errno
import hashlib
import json
import zipfile

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
import zstandard

from edgeopt.bundle import delta, verify_bundle, write_bundle
from edgeopt.bundle.delta import apply_delta, write_delta
from edgeopt.errors import DataError, EdgeoptError, IntegrityError, MachineError, RecipeError

TEXT = """<ir_version: 9, opset_import: ["" : 19]>
two (float[batch, 64] pixels) => (float[batch, 3] logits)
{ hidden = MatMul (pixels, first)  logits = MatMul (hidden, second) }"""


def write(make_spec, place, head: int):
    """A bundle of a model with one large tensor and a small head; `head` seeds the head."""
    model = onnx.parser.parse_model(TEXT)
    for name, shape, seed in (("first", (64, 256), 0), ("second", (256, 3), head)):
        values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    path = place.with_suffix(".onnx")
    onnx.save(model, path)
    write_bundle(make_spec(model=path, golden=[{"pixels": np.ones((1, 64), np.float32)}]), output=place)
    return place


@pytest.fixture
def pair(make_spec, tmp_path):
    return write(make_spec, tmp_path / "old", 1), write(make_spec, tmp_path / "new", 2)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_delta_sends_what_changed_and_makes_the_new_bundle(pair, tmp_path):
    old, new = pair
    made = write_delta(old, new, tmp_path / "d.delta")
    assert made.delta_bytes < made.new_bytes / 5  # the large tensor stays
    assert 0 < made.sent < made.parts
    apply_delta(old, tmp_path / "d.delta", tmp_path / "made")
    assert contents(tmp_path / "made") == contents(new)
    assert verify_bundle(tmp_path / "made").passed


def test_two_deltas_are_the_same_bytes(pair, tmp_path):
    for name in ("a", "b"):
        write_delta(*pair, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_delta_is_for_one_bundle(pair, tmp_path):
    old, new = pair
    write_delta(old, new, tmp_path / "d.delta")
    with pytest.raises(DataError, match="not the bundle that this delta is for"):
        apply_delta(new, tmp_path / "d.delta", tmp_path / "made")
    with pytest.raises(RecipeError, match="exists already"):
        apply_delta(old, tmp_path / "d.delta", new)
    assert not (tmp_path / "made").exists()


def changed(delta, change):
    """Rewrite delta.json of the file `delta`."""
    with zipfile.ZipFile(delta) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    values = json.loads(zstandard.decompress(entries["delta.json"]))
    change(values)
    entries["delta.json"] = zstandard.compress(json.dumps(values).encode())
    with zipfile.ZipFile(delta, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(schema_version=2),
        lambda values: values.update(new="0" * 64),
        lambda values: values["files"].update({"../evil": []}),
        lambda values: values["files"].update(extra=[{"sha256": "0" * 64, "bytes": 3, "old": "README.md", "start": 0}]),
        lambda values: values["files"].update(extra=[{"sha256": "0" * 64, "bytes": 3, "old": "../../etc/passwd", "start": 0}]),
        lambda values: values["files"].update(extra=[{"sha256": "0" * 64, "bytes": 1 << 50}]),
        lambda values: values["files"].update(extra=[{"sha256": "0" * 64, "bytes": 3, "old": "README.md", "start": 10**30}]),
        lambda values: values["files"].update(extra=[{"sha256": "0" * 64, "bytes": float("inf"), "old": "README.md"}]),
        lambda values: values["files"].update(extra=[{"sha256": "0" * 64, "bytes": -2, "old": "README.md", "start": 0}]),
        lambda values: values["files"].pop("README.md"),
        lambda values: values.pop("files"),
    ],
)
def test_crafted_deltas_are_refused_and_leave_nothing(pair, change, tmp_path):
    old, new = pair
    write_delta(old, new, tmp_path / "d.delta")
    changed(tmp_path / "d.delta", change)
    with pytest.raises(EdgeoptError):
        apply_delta(old, tmp_path / "d.delta", tmp_path / "made")
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "evil").exists()


def test_a_delta_whose_parts_lie_before_its_first_byte_is_refused(pair, tmp_path):
    old, new = pair
    write_delta(old, new, tmp_path / "d.delta")
    content = bytearray((tmp_path / "d.delta").read_bytes())
    end = content.rindex(b"PK\x05\x06")
    size = int.from_bytes(content[end + 12 : end + 16], "little")
    content[end + 12 : end + 16] = (size - 1).to_bytes(4, "little")
    for place in range(len(content) - 4):
        if content[place : place + 4] == b"PK\x01\x02":
            content[place + 42 : place + 46] = bytes(4)  # every entry at the beginning
    del content[:40]
    (tmp_path / "d.delta").write_bytes(content)
    with pytest.raises(DataError, match="not a delta that can be read"):
        apply_delta(old, tmp_path / "d.delta", tmp_path / "made")


def test_every_cut_and_flipped_byte_is_noticed(pair, tmp_path):
    old, new = pair
    write_delta(old, new, tmp_path / "d.delta")
    whole = (tmp_path / "d.delta").read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 40)):
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :]):
            (tmp_path / "d.delta").write_bytes(damaged)
            try:
                apply_delta(old, tmp_path / "d.delta", tmp_path / "made")
            except EdgeoptError:
                assert not (tmp_path / "made").exists()
                continue
            assert contents(tmp_path / "made") == contents(new)  # a byte that nothing reads
            for path in sorted((tmp_path / "made").rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            (tmp_path / "made").rmdir()


def test_a_file_that_changed_in_places_is_sent_as_what_changed(make_spec, tmp_path):
    noise = np.random.default_rng(3).integers(0, 256, 200_000, dtype=np.uint8).tobytes()
    for name, content in (("old", noise), ("new", noise[:90_000] + b"changed" + noise[90_000:])):
        (tmp_path / "table.bin").write_bytes(content)
        write_bundle(make_spec(files={"table.bin": tmp_path / "table.bin"}), output=tmp_path / name)
    made = write_delta(tmp_path / "old", tmp_path / "new", tmp_path / "d.delta")
    assert made.new_bytes > 200_000
    assert made.delta_bytes < 8_000
    apply_delta(tmp_path / "old", tmp_path / "d.delta", tmp_path / "made")
    assert contents(tmp_path / "made") == contents(tmp_path / "new")


@pytest.mark.parametrize(("version", "exit_code"), [(2, 5), (0, 2), ("1", 2)])
def test_a_delta_of_a_later_version_has_the_exit_code_of_later_bundles(pair, tmp_path, version, exit_code):
    old, new = pair
    write_delta(old, new, tmp_path / "d.delta")
    changed(tmp_path / "d.delta", lambda values: values.update(schema_version=version))
    with pytest.raises(EdgeoptError, match=f"schema version {version}, this edgeopt reads 1") as found:
        apply_delta(old, tmp_path / "d.delta", tmp_path / "made")
    assert found.value.exit_code == exit_code


def test_a_folder_is_no_delta(tmp_path):
    for place in (tmp_path, tmp_path / "missing.delta"):
        with pytest.raises(DataError, match="no such file; give one that edgeopt delta wrote"):
            apply_delta(tmp_path / "old", place, tmp_path / "new")


def test_a_bundle_that_is_none_is_not_made_of_a_delta(pair, tmp_path):
    old, new = pair
    write_delta(old, new, tmp_path / "d.delta")
    name = hashlib.sha256(b"[]").hexdigest()
    changed(tmp_path / "d.delta", lambda values: values["files"].update({"bundle.json": [{"sha256": name, "bytes": 2}]}))
    with zipfile.ZipFile(tmp_path / "d.delta", "a") as archive:
        archive.writestr(f"parts/{name}", zstandard.compress(b"[]"))
    with pytest.raises(IntegrityError, match=r"does not verify: bundle\.json"):
        apply_delta(old, tmp_path / "d.delta", tmp_path / "made")


def test_a_part_that_unpacks_without_a_limit_is_refused(pair, tmp_path):
    old, new = pair
    write_delta(old, new, tmp_path / "d.delta")
    with zipfile.ZipFile(tmp_path / "d.delta", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("parts/zeros", bytes(1 << 20))
    with pytest.raises(DataError, match="compressed twice"):
        apply_delta(old, tmp_path / "d.delta", tmp_path / "made")


def test_a_delta_in_a_bundle_or_on_a_full_disk_leaves_nothing(pair, tmp_path, monkeypatch):
    old, new = pair
    with pytest.raises(RecipeError, match="lies in the bundle"):
        write_delta(old, new, new / "d.delta")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(delta, "_store", full)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(MachineError, match="the disk is full"):
        write_delta(old, new, tmp_path / "d.delta")
    assert sorted(tmp_path.iterdir()) == before


def test_a_data_file_is_cut_at_its_tensors(make_spec, tmp_path):
    for number, place in enumerate((tmp_path / "old", tmp_path / "new")):
        model = onnx.parser.parse_model(TEXT)
        for name, shape, seed in (("second", (256, 3), 5), ("first", (64, 256), number)):
            values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
        (tmp_path / str(number)).mkdir()
        onnx.save(model, tmp_path / str(number) / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
        golden = [{"pixels": np.ones((1, 64), np.float32)}]
        write_bundle(make_spec(model=tmp_path / str(number) / "m.onnx", golden=golden), output=place)
    with_data = write_delta(tmp_path / "old", tmp_path / "new", tmp_path / "d.delta")
    assert with_data.delta_bytes > 64 * 256 * 3  # the large tensor is new
    with zipfile.ZipFile(tmp_path / "d.delta") as archive:
        entries = json.loads(zstandard.decompress(archive.read("delta.json")))["files"]["m.data"]
    assert any(entry.get("old") == "m.data" and entry["bytes"] == 256 * 3 * 4 for entry in entries)  # the small one is not
    apply_delta(tmp_path / "old", tmp_path / "d.delta", tmp_path / "made")
    assert contents(tmp_path / "made") == contents(tmp_path / "new")
