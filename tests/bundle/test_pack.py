"""Packed bundles: the same bytes twice, and untrusted archives that write nothing outside."""

import errno
import io
import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeopt.bundle import pack, verify_bundle, write_bundle
from edgeopt.bundle.pack import pack_bundle, unpack_bundle, unpacked
from edgeopt.errors import DataError, MachineError, ModelError, RecipeError

SUFFIXES = (".tar.zst", ".zip")


@pytest.fixture
def bundle(make_spec, tmp_path: Path) -> Path:
    write_bundle(make_spec(), output=tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_packed_bundle_has_the_same_bytes_wherever_and_whenever(bundle, suffix, tmp_path):
    pack_bundle(bundle, tmp_path / f"a{suffix}")
    other = tmp_path / "elsewhere" / "copy"
    shutil.copytree(bundle, other)
    for path in other.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o777)
    pack_bundle(other, tmp_path / f"b{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    unpack_bundle(tmp_path / f"a{suffix}", tmp_path / "out")
    assert verify_bundle(tmp_path / "out").passed
    with unpacked(tmp_path / f"a{suffix}") as folder:
        assert verify_bundle(folder).passed
    assert not folder.exists()


def zip_of(names: dict[str, bytes], mode: int = 0o100644) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in names.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()


def tar_of(entry: tarfile.TarInfo, content: bytes = b"", pax_headers: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", pax_headers=pax_headers) as archive:
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return zstandard.compress(buffer.getvalue())


def link(name: str, kind: bytes) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, "/etc/passwd"
    return entry


CRAFTED = {
    "climbs.zip": zip_of({"../evil": b"x"}),
    "absolute.zip": zip_of({"/tmp/evil": b"x"}),
    "backslash.zip": zip_of({"..\\evil": b"x"}),
    "link.zip": zip_of({"a": b"/etc/passwd"}, 0o120777),
    "bomb.zip": zip_of({"a": bytes(64 << 20)}),
    "cut.zip": zip_of({"a": b"x" * 100})[:60],
    "climbs.tar.zst": tar_of(tarfile.TarInfo("../evil"), b"x"),
    "absolute.tar.zst": tar_of(tarfile.TarInfo("/tmp/evil"), b"x"),
    "symlink.tar.zst": tar_of(link("a", tarfile.SYMTYPE)),
    "hardlink.tar.zst": tar_of(link("a", tarfile.LNKTYPE)),
    "device.tar.zst": tar_of(link("a", tarfile.CHRTYPE)),
    "bomb.tar.zst": tar_of(tarfile.TarInfo("a"), bytes(64 << 20)),
    "cut.tar.zst": tar_of(tarfile.TarInfo("a"), os.urandom(5000))[:2000],
    "nothing.tar.zst": b"",
    "comment.tar.zst": tar_of(tarfile.TarInfo("bundle.json"), b"{}", pax_headers={"comment": "x" * (2 << 20)}),
    "other.zip": zip_of({"photo.jpg": b"x"}),
    "empty.zip": zip_of({}),
    "other.tar.zst": tar_of(tarfile.TarInfo("photo.jpg"), b"x"),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_archives_are_refused_and_leave_nothing(name, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(CRAFTED[name])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError):
        unpack_bundle(tmp_path / "in" / name, tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/tmp/evil").exists()


def test_an_archive_of_something_else_and_long_headers_are_named(tmp_path):
    for name, said in (
        ("other.zip", r"other\.zip: holds no bundle\.json"),
        ("comment.tar.zst", "header of an entry is larger"),
    ):
        (tmp_path / name).write_bytes(CRAFTED[name])
        with pytest.raises(DataError, match=said):
            unpack_bundle(tmp_path / name, tmp_path / "out")


@settings(max_examples=60, deadline=None)
@given(content=st.binary(max_size=400), suffix=st.sampled_from(SUFFIXES), start=st.sampled_from([b"", CRAFTED["cut.zip"][:40]]))
def test_no_bytes_crash_the_reader(content, suffix, start, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / f"x{suffix}").write_bytes(start + content)
    with pytest.raises(DataError):
        unpack_bundle(folder / f"x{suffix}", folder / "out")
    assert sorted(path.name for path in folder.iterdir()) == [f"x{suffix}"]


def test_wrong_uses_are_named(bundle, tmp_path):
    with pytest.raises(RecipeError, match=r"NAME\.tar\.zst or NAME\.zip"):
        pack_bundle(bundle, tmp_path / "x.rar")
    with pytest.raises(ModelError, match=r"no bundle\.json"):
        pack_bundle(tmp_path, tmp_path / "x.zip")
    (bundle / "link").symlink_to("/etc/passwd")
    with pytest.raises(ModelError, match="not a plain file"):
        pack_bundle(bundle, tmp_path / "x.zip")


@pytest.mark.parametrize("place", range(40, 90, 7))
def test_a_zip_whose_compressed_bytes_are_damaged_is_refused(tmp_path, place):
    """zlib's own error is of another class than that of zipfile."""
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.onnx", bytes(range(256)) * 8)
    content = bytearray((tmp_path / "b.zip").read_bytes())
    content[place] ^= 0xFF
    (tmp_path / "b.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"not a \.zip that can be read"):
        unpack_bundle(tmp_path / "b.zip", tmp_path / "out")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_is_not_the_archive_s_fault_and_nothing_is_packed_into_a_bundle(bundle, suffix, tmp_path, monkeypatch):
    with pytest.raises(RecipeError, match="lies in the bundle"):
        pack_bundle(bundle, bundle / f"x{suffix}")
    pack_bundle(bundle, tmp_path / f"x{suffix}")
    before = sorted(tmp_path.iterdir())

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pack._Limits, "take", full)
    with pytest.raises(MachineError, match="the disk is full"):
        unpack_bundle(tmp_path / f"x{suffix}", tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == before
