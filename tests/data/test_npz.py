"""Arrays of files: read piece by piece, refused in one line where they are crafted, damaged or too large."""

from __future__ import annotations

import gc
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeopt.data.npz import open_npy, open_npz, write_npz
from edgeopt.data.source import Reader, open_source
from edgeopt.errors import DataError

VALUES = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)


def npy(header: str, content: bytes = b"", *, version: tuple[int, int] = (1, 0)) -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == (1, 0) else "<I", len(text)) + text + content


def archive(path: Path, entries: dict[str, bytes], *, packed: bool = False) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read_row_by_row(tmp_path: Path, save: object) -> None:
    arrays = {
        "x": VALUES,
        "columns": np.asfortranarray(VALUES),
        "foreign": VALUES.astype(">f8"),
        "scalar": np.float32(7),
        "words": np.array(["a", "bcd"]),
        "empty": np.zeros((0, 4), np.int64),
    }
    save(tmp_path / "a.npz", **arrays)  # type: ignore[operator]
    found = open_npz(tmp_path / "a.npz")
    assert set(found) == set(arrays)
    for name, wanted in arrays.items():
        np.testing.assert_array_equal(found[name].whole(), wanted)
        assert b"".join(found[name].chunks()) == np.ascontiguousarray(wanted).tobytes()
        for index in range(len(wanted) if np.ndim(wanted) else 0):
            np.testing.assert_array_equal(found[name][index], wanted[index])
    assert found["foreign"].whole().dtype.isnative


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}"), "ends early or late: 4,000,000,000,000"),
        (npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}"), "impossible shape"),
        (npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", bytes(4)), "which no model takes"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", bytes(8)), "pickled objects"),
        (npy("{'descr': '<M8[s]', 'fortran_order': False, 'shape': (1,)}", bytes(8)), "which no model takes"),
        (npy("{'descr': '<f4', 'shape': (1,"), "damaged .np"),
        (npy("{'descr': '''<f4"), "damaged .np"),
        (npy("(" * 5000), "damaged .np"),
        (npy("{'descr': (), 'fortran_order': False, 'shape': (1,)}"), "damaged .np"),
        (npy("{}", version=(9, 9)), "a header of the unknown version (9, 9)"),
        (b"", "damaged .np"),
        (b"text", "damaged .np"),
    ],
)
def test_crafted_headers_are_refused_in_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    archive(tmp_path / "plain.npz", {"x.npy": content})
    archive(tmp_path / "packed.npz", {"x.npy": content}, packed=True)
    readers = {"x.npy": open_npy, "plain.npz": open_npz, "packed.npz": open_npz}
    for name, read in readers.items():
        with pytest.raises(DataError) as caught:
            read(tmp_path / name)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    bomb = archive(tmp_path / "bomb.npz", {"x.npy": bytes(1 << 20)}, packed=True)
    content = bytearray(bomb.read_bytes())
    directory = content.index(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = struct.pack("<I", 0xF0000000)  # the size that the directory gives
    bomb.write_bytes(content)
    with pytest.raises(DataError, match=r"unpacks from [\d,]+ to 4,026,531,840 bytes"):
        open_npz(bomb)


def test_encrypted_doubled_and_damaged_archives_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, VALUES)
    path = archive(tmp_path / "a.npz", {"x.npy": buffer.getvalue()})
    whole = path.read_bytes()
    locked = bytearray(whole)
    locked[6] |= 1
    locked[whole.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(locked)
    with pytest.raises(DataError, match="is encrypted"):
        open_npz(path)
    flipped = bytearray(whole)
    flipped[whole.index(VALUES.tobytes()) + 7] ^= 4
    path.write_bytes(flipped)
    with pytest.raises(DataError, match=r"damaged \(its checksum differs"):
        open_source(str(path))
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive(path, {"x.npy": buffer.getvalue()})
        with zipfile.ZipFile(path, "a") as file:
            file.writestr("x.npy", buffer.getvalue())
    with pytest.raises(DataError, match="two arrays of one name"):
        open_npz(path)
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(DataError, match="no samples in this folder"):
        open_source(str(tmp_path / "folder.npz"))


def test_a_file_takes_no_more_memory_than_the_sample_that_is_read(tmp_path: Path) -> None:
    rows = 64
    with zipfile.ZipFile(tmp_path / "large.npz", "w") as file, file.open("x.npy", "w", force_zip64=True) as entry:
        np.lib.format.write_array_header_1_0(entry, {"descr": "<f4", "fortran_order": False, "shape": (rows, 1 << 18)})
        for row in range(rows):
            entry.write(np.full(1 << 18, row, np.float32).tobytes())
    code = """
import resource, sys
from pathlib import Path
from edgeopt.data.source import Reader, open_source
import numpy as np
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
samples = open_source(sys.argv[1], Reader(("x",)))
assert [int(batch["x"][0, 5]) for batch in samples.batches(1)] == list(range(64))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "large.npz")], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 40_000, f"{int(done.stdout):,} kB for a file of 67,000"


@given(st.binary(max_size=200), st.integers(0, 400), st.booleans())
def test_damage_anywhere_is_read_or_refused_in_one_line(noise: bytes, place: int, cut: bool) -> None:
    import tempfile

    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=VALUES, labels=np.arange(5))
    content = buffer.getvalue()
    damaged = content[:place] + noise + (b"" if cut else content[place + len(noise) :])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npz"
        path.write_bytes(damaged)
        try:
            samples = open_source(str(path), Reader(("x",)))
            assert len(samples[0]) <= 2
        except DataError as error:
            assert "\n" not in str(error)
            assert str(path) in str(error)


@pytest.mark.parametrize("kind", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_compression_that_numpy_does_not_write_is_refused(tmp_path: Path, kind: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", kind) as file:
        file.writestr("x.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", bytes(4)))
    with pytest.raises(DataError, match="compressed in a way that numpy does not write"):
        open_npz(tmp_path / "a.npz")


def test_arrays_are_written_under_any_name(tmp_path: Path) -> None:
    arrays = {"file": VALUES, "allow_pickle": VALUES + 1, "a/b.npy": VALUES[:0]}
    with (tmp_path / "a.npz").open("wb") as stream:
        write_npz(stream, arrays)
    found = open_npz(tmp_path / "a.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name].whole(), array)
    np.savez(tmp_path / "numpys.npz", x=VALUES, y=VALUES[:1])
    with (tmp_path / "ours.npz").open("wb") as stream:
        write_npz(stream, {"x": VALUES, "y": VALUES[:1]})
    assert (tmp_path / "ours.npz").read_bytes() == (tmp_path / "numpys.npz").read_bytes()


def test_the_temporary_file_of_a_large_packed_array_is_closed_with_the_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeopt.data.npz._IN_MEMORY", 8)
    np.savez_compressed(tmp_path / "x.npz", x=np.arange(100))
    stored = open_npz(tmp_path / "x.npz")["x"]
    assert stored[3] == 3
    file = stored._content
    assert not file.closed
    del stored
    gc.collect()
    assert file.closed
