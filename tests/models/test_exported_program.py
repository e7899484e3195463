from __future__ import annotations

import io
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

from edgeopt.errors import DataError, ModelError
from edgeopt.export import export
from edgeopt.models.load import load_model
from edgeopt.targets.target import load_target
from tests.models.conftest import Small
from tests.models.test_program_archive import changed, graph_of


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


@pytest.mark.parametrize(
    "samples",
    [
        ((5,), {}),
        ((), {}),
        ((torch.ones(2, 3, 8, 8), torch.ones(1)), {"scale": torch.ones(2, 5)}),
        ((torch.ones(2, 3),), {"scale": torch.ones(2, 5)}),
        ((torch.ones(0, 3, 8, 8),), {"scale": torch.ones(0, 5)}),
        {"image": 1},
    ],
)
def test_example_inputs_of_another_form_are_one_error(tmp_path, archive, samples):
    content = io.BytesIO()
    torch.save(samples, content)
    crafted = changed(archive, tmp_path / "a.pt2", data_slash_sample_inputs_slash_model__pt=content.getvalue())
    with pytest.raises(ModelError, match="its example inputs do not fit it") as found:
        load_model(crafted)
    assert "\n" not in str(found.value)


def test_an_input_that_is_not_given_is_named(tmp_path, archive):
    module = load_model(archive).module
    with pytest.raises(DataError, match="input 'scale' is not given; its inputs: image, scale"):
        module(image=torch.ones(2, 3, 8, 8))


def test_a_program_in_bfloat16_keeps_its_example_inputs(tmp_path):
    program = torch.export.export(torch.nn.Linear(4, 3).to(torch.bfloat16), (torch.full((2, 4), 1.5, dtype=torch.bfloat16),))
    torch.export.save(program, tmp_path / "half.pt2")
    (batch,) = load_model(tmp_path / "half.pt2").module.example_inputs()
    assert [(str(array.dtype), float(array[1, 3])) for array in batch.values()] == [("bfloat16", 1.5)]


def test_torch_logs_nothing_of_a_program_that_it_cannot_load(tmp_path, archive, caplog):
    graph = graph_of(archive)
    graph["schema_version"] = {"major": 99, "minor": 0}
    with pytest.raises(ModelError, match="torch cannot load it") as found:
        load_model(changed(archive, tmp_path / "a.pt2", models_slash_model__json=json.dumps(graph).encode()))
    assert not caplog.records and "warnings above" not in str(found.value)
