from __future__ import annotations

import mmap
import sys

import pytest

from edgeopt.generate.engine.memory import _unchanged, return_memory

SMAPS = """7f00-7f40 rw-p 00000000 fe:00 12 /models/m/model.onnx.data
Rss:                  64 kB
Anonymous:             0 kB
7f40-7f80 rw-p 00000000 fe:00 12 /models/m/model.onnx.data
Anonymous:             4 kB
7f80-7fc0 r--p 00000000 fe:00 13 /models/other/model.onnx.data
Anonymous:             0 kB
"""


def test_only_unchanged_pages_of_the_folder_are_let_go():
    assert list(_unchanged(SMAPS, "/models/m/")) == [(0x7F00, 0x7F40)]


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone")
def test_what_was_let_go_is_read_again_and_what_was_written_stays(tmp_path):
    for name in ("read", "written"):
        (tmp_path / name).write_bytes(b"x" * (1 << 20))
    with (tmp_path / "read").open("rb") as one, (tmp_path / "written").open("rb") as other:
        read = mmap.mmap(one.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
        written = mmap.mmap(other.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        assert read[:] == written[:] == b"x" * (1 << 20)
        written[5] = ord("y")
        assert return_memory(tmp_path) == 1 << 20
        assert read[:] == b"x" * (1 << 20)
        assert written[4:7] == b"xyx"
        read.close()
        written.close()
