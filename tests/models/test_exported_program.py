from __future__ import annotations

import json
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeopt.errors import ModelError
from edgeopt.export import export
from edgeopt.models.load import load_model
from edgeopt.targets.target import load_target
from tests.models.conftest import Small
from tests.models.test_program_archive import graph_of


def test_a_program_is_exported_with_the_axes_it_has(tmp_path, archive):
    result = export(load_model(archive).module, None, target=load_target("x86-vnni"), output=tmp_path)
    assert {value.name: value.shape for value in result.inputs} == {
        "image": ("batch", 3, "image_axis2", 8),
        "scale": ("batch", 5),
    }
    assert [value.name for value in result.outputs] == ["logits", "pooled"]
    assert result.parity.relative_error < 1e-5 and len(result.parity.shapes) >= 3


def test_a_loaded_program_computes_what_the_module_does(archive):
    inputs = {"image": torch.randn(3, 3, 6, 8), "scale": torch.randn(3, 5)}
    with torch.no_grad():
        found = load_model(archive).module(**inputs)
        wanted = Small().eval()(inputs["image"], scale=inputs["scale"])
    assert np.array_equal(found["logits"].numpy(), wanted["logits"].numpy())


def two_directories(good: Path, to: Path, swapped: dict[str, bytes]) -> None:
    """Write an archive in which zipfile sees the files of `good`, and a reader that trusts absolute offsets those `swapped`."""
    with zipfile.ZipFile(good) as source:
        seen = {name: source.read(name) for name in source.namelist()}
    hidden = {name: next((data for end, data in swapped.items() if name.endswith(end)), data) for name, data in seen.items()}

    def local(name: str, data: bytes) -> bytes:
        head = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0x800, 0, 0, 0, zlib.crc32(data), len(data), len(data), len(name), 0)
        return head + name.encode() + data

    def central(name: str, data: bytes, offset: int) -> bytes:
        sizes = (zlib.crc32(data), len(data), len(data), len(name), 0, 0, 0, 0, 0, offset)
        return struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0x800, 0, 0, 0, *sizes) + name.encode()

    content, offsets, shift = bytearray(), [], sum(len(central(name, b"", 0)) for name in seen)
    for files in (hidden, seen):
        offsets.append({})
        for name, data in files.items():
            offsets[-1][name] = len(content)
            content += local(name, data)
        content += b"\0" * max(0, shift + 10 - len(content))
    place = len(content)
    content += b"".join(central(name, data, offsets[0][name]) for name, data in hidden.items())
    content += b"".join(central(name, data, offsets[1][name] - shift) for name, data in seen.items())
    content += struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, len(seen), len(seen), shift, place, 0)
    to.write_bytes(content)


def test_torch_loads_what_was_checked_although_it_reads_archives_in_another_way(tmp_path, archive):
    graph = json.dumps(graph_of(archive))
    start = graph.index('"expr_str": "') + len('"expr_str": "')
    evil = graph[:start] + f"__import__('os').mkdir('{tmp_path / 'evil'}') or 2" + graph[graph.index('"', start) :]
    two_directories(archive, tmp_path / "two.pt2", {"models/model.json": evil.encode()})
    assert b"mkdir" in torch._C.PyTorchFileReader(str(tmp_path / "two.pt2")).get_record("models/model.json")
    inputs = {"image": torch.randn(2, 3, 6, 8), "scale": torch.randn(2, 5)}
    with torch.no_grad():
        found = load_model(tmp_path / "two.pt2").module(**inputs)
        wanted = Small().eval()(inputs["image"], scale=inputs["scale"])
    assert np.array_equal(found["logits"].numpy(), wanted["logits"].numpy())
    assert not (tmp_path / "evil").exists()


def test_sizes_with_fractions_are_read_and_never_evaluated(tmp_path, monkeypatch):
    class Resized(torch.nn.Module):
        def forward(self, image):
            return torch.nn.functional.interpolate(image[:, :, ::2], scale_factor=1.5)

    height = torch.export.Dim("height", min=8)
    program = torch.export.export(Resized(), (torch.randn(1, 3, 12, 8),), dynamic_shapes={"image": {2: height}})
    torch.export.save(program, tmp_path / "resized.pt2")
    monkeypatch.setattr("sympy.parsing.sympy_parser.eval_expr", lambda *_: pytest.fail("a size was evaluated"))
    module = load_model(tmp_path / "resized.pt2").module
    assert module(image=torch.randn(1, 3, 20, 8)).shape == (1, 3, 15, 12)


@given(data=st.binary(max_size=400), cut=st.floats(0, 0.9))
@settings(max_examples=40, deadline=None)
def test_rubbish_is_one_error(tmp_path_factory, archive, data, cut):
    place = tmp_path_factory.mktemp("rubbish") / "x.pt2"
    for content in (data, archive.read_bytes()[: int(archive.stat().st_size * cut)]):
        place.write_bytes(content)
        with pytest.raises(ModelError):
            load_model(place)
