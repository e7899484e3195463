from __future__ import annotations

import io
import json
import os
import pickle
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
from edgeopt.models.no_pickles import no_pickles
from edgeopt.targets.target import load_target


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.head = torch.nn.Linear(4, 5)

    def forward(self, image, *, scale):
        return {"logits": self.head(torch.relu(self.convolution(image)).mean((2, 3))) * scale, "pooled": image.amax((1, 2, 3))}


class Evil:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("program") / "small.pt2"
    batch, height = torch.export.Dim("batch"), torch.export.Dim("height")
    program = torch.export.export(
        Small().eval(),
        (torch.randn(2, 3, 8, 8),),
        {"scale": torch.randn(2, 5)},
        dynamic_shapes={"image": {0: batch, 2: height}, "scale": {0: batch}},
    )
    torch.export.save(program, path)
    return path


def changed(archive: Path, to: Path, **entries: bytes) -> Path:
    """Copy `archive` with some of its entries (by the end of their names, dots as __) replaced or added."""
    wanted = {name.replace("__", ".").replace("_slash_", "/"): data for name, data in entries.items()}
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(to, "w") as copy:
        root = source.namelist()[0].partition("/")[0]
        for name in source.namelist():
            inner = name.partition("/")[2]
            copy.writestr(name, wanted.pop(inner, None) or source.read(name))
        for inner, data in wanted.items():
            copy.writestr(f"{root}/{inner}", data)
    return to


def graph_of(archive: Path) -> dict:
    with zipfile.ZipFile(archive) as source:
        return json.loads(next(source.read(name) for name in source.namelist() if name.endswith("models/model.json")))


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


@pytest.mark.parametrize(
    "target",
    [
        "torch.hub.load",
        "torch.load",
        "_operator.methodcaller",
        "#x",
        "torch.ops.load_library",
        "torch.ops.aten.from_file.default",
    ],
)
def test_an_operator_that_is_not_torchs_own_is_refused(tmp_path, archive, target):
    graph = graph_of(archive)
    graph["graph_module"]["graph"]["nodes"][0]["target"] = target
    bad = changed(archive, tmp_path / "bad.pt2", models_slash_model__json=json.dumps(graph).encode())
    with pytest.raises(ModelError, match=f"calls '{target}'"):
        load_model(bad)


@pytest.mark.parametrize("size", ["__import__('os').mkdir('PLACE')", "(lambda: 1)()", "Symbol('__import__')", "s0.__class__"])
def test_a_size_that_is_no_arithmetic_is_refused_before_sympy_evaluates_it(tmp_path, archive, size):
    text = json.dumps(graph_of(archive))
    start = text.index('"expr_str": "') + len('"expr_str": "')
    end = text.index('"', start)
    text = text[:start] + size.replace("PLACE", str(tmp_path / "evil")) + text[end:]
    bad = changed(archive, tmp_path / "bad.pt2", models_slash_model__json=text.encode())
    with pytest.raises(ModelError, match="not arithmetic of symbols"):
        load_model(bad)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "size",
    ["9**9**9**9", "Pow(Integer(9), Integer(99))", "((9**8)**8)**8", "LShift(1, 99999999)", "Integer('9' * 9)", "1" * 99],
)
def test_a_size_that_would_be_computed_for_ever_is_refused(tmp_path, archive, size):
    text = json.dumps(graph_of(archive))
    start = text.index('"expr_str": "') + len('"expr_str": "')
    text = text[:start] + size + text[text.index('"', start) :]
    bad = changed(archive, tmp_path / "bad.pt2", models_slash_model__json=text.encode())
    with pytest.raises(ModelError, match="not arithmetic of symbols"):
        load_model(bad)


def _renamed(value, old, new):
    """Return JSON `value` with each text `old` in it, keys included, as `new`."""
    if isinstance(value, dict):
        return {_renamed(key, old, new): _renamed(inner, old, new) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner, old, new) for inner in value]
    return new if value == old else value


@pytest.mark.parametrize("name", ["image", "relu", "p_head_weight", "head.weight"])
@pytest.mark.parametrize("quote", ["'", '"'])
def test_names_that_become_python_code_are_refused(tmp_path, archive, name, quote):
    place = tmp_path / "evil"
    code = f"__import__({quote}os{quote}).mkdir({quote}{place}{quote})"
    evil = f"a{quote}, {code}) or ({quote}" if "." in name else f"x={code}"
    with zipfile.ZipFile(archive) as source:
        weights = json.loads(next(source.read(entry) for entry in source.namelist() if entry.endswith("weights_config.json")))
    bad = changed(
        archive,
        tmp_path / "bad.pt2",
        models_slash_model__json=json.dumps(_renamed(graph_of(archive), name, evil)).encode(),
        data_slash_weights_slash_model_weights_config__json=json.dumps(_renamed(weights, name, evil)).encode(),
    )
    with pytest.raises(ModelError, match="refused"):
        load_model(bad)
    assert not place.exists()


@pytest.mark.parametrize(("spec", "name"), [("in_spec", "scale"), ("out_spec", "logits")])
def test_keys_that_become_python_code_are_refused(tmp_path, archive, spec, name):
    evil = f"a: __import__('os').mkdir('{tmp_path / 'evil'}')"
    graph = graph_of(archive)
    signature = graph["graph_module"]["module_call_graph"][0]["signature"]
    signature["forward_arg_names"] = None
    tree = json.loads(signature[spec])
    holder = tree[1]["children_spec"][1] if spec == "in_spec" else tree[1]
    holder["context"] = json.dumps(_renamed(json.loads(holder["context"]), name, evil))
    signature[spec] = json.dumps(tree)
    bad = changed(archive, tmp_path / "bad.pt2", models_slash_model__json=json.dumps(graph).encode())
    with pytest.raises(ModelError, match="which is no valid name; refused"):
        load_model(bad)
    assert not (tmp_path / "evil").exists()


def test_a_tree_whose_keys_would_import_a_module_is_refused(tmp_path, archive, monkeypatch):
    (tmp_path / "evil_enum.py").write_text(f"import pathlib; pathlib.Path({str(tmp_path / 'evil')!r}).mkdir()")
    monkeypatch.syspath_prepend(tmp_path)
    graph = graph_of(archive)
    signature = graph["graph_module"]["module_call_graph"][0]["signature"]
    tree = json.loads(signature["out_spec"])
    tree[1]["context"] = json.dumps([{"__enum__": True, "fqn": "evil_enum:Kind", "name": "A"}, "pooled"])
    signature["out_spec"] = json.dumps(tree)
    bad = changed(archive, tmp_path / "bad.pt2", models_slash_model__json=json.dumps(graph).encode())
    with pytest.raises(ModelError, match="which is no valid name"):
        load_model(bad)
    assert not (tmp_path / "evil").exists()


def test_an_unbacked_symbol_of_a_huge_number_is_refused(tmp_path, archive):
    graph = graph_of(archive)
    graph["range_constraints"]["u99999999999"] = {"min_val": 0, "max_val": 1}
    bad = changed(archive, tmp_path / "bad.pt2", models_slash_model__json=json.dumps(graph).encode())
    with pytest.raises(ModelError, match="'u99999999999' has a range and is not a symbol"):
        load_model(bad)


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


def test_pickles_are_refused_and_nothing_of_them_runs(tmp_path, archive):
    evil = io.BytesIO()
    torch.save(Evil(tmp_path / "evil"), evil)
    bad = changed(archive, tmp_path / "samples.pt2", data_slash_sample_inputs_slash_model__pt=evil.getvalue())
    with pytest.raises(ModelError, match="sample inputs are more than tensors"):
        load_model(bad)
    entry = {"w": {"path_name": "weight_0", "is_param": True, "use_pickle": True, "tensor_meta": None}}
    config = json.dumps({"config": entry}).encode()
    bad = changed(archive, tmp_path / "weights.pt2", data_slash_weights_slash_model_weights_config__json=config)
    with pytest.raises(ModelError, match="'w' is stored as a pickle"):
        load_model(bad)
    bad = changed(archive, tmp_path / "legacy.pt2", data_slash_weights_slash_model__pt=pickle.dumps(1))
    with pytest.raises(ModelError, match=r"holds 'data/weights/model.pt'"):
        load_model(bad)
    assert not (tmp_path / "evil").exists()


def test_a_tree_of_inputs_that_names_a_class_is_refused(tmp_path, archive):
    text = json.dumps(graph_of(archive)).replace("builtins.tuple", "os.system")
    bad = changed(archive, tmp_path / "bad.pt2", models_slash_model__json=text.encode())
    with pytest.raises(ModelError, match=r"are a 'os\.system'"):
        load_model(bad)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_entries_of_one_name_are_refused(tmp_path, archive):
    twice = tmp_path / "twice.pt2"
    twice.write_bytes(archive.read_bytes())
    with zipfile.ZipFile(twice, "a") as copy:
        copy.writestr(next(name for name in copy.namelist() if name.endswith("model.json")), "{}")
    with pytest.raises(ModelError, match="two entries of one name"):
        load_model(twice)


def test_no_pickles_binds_a_library_that_asks_for_them(tmp_path):
    torch.save(Evil(tmp_path / "evil"), tmp_path / "weights.bin")
    with no_pickles(), pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "weights.bin", weights_only=False)
    assert not (tmp_path / "evil").exists() and "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


@given(data=st.binary(max_size=400), cut=st.floats(0, 0.9))
@settings(max_examples=40, deadline=None)
def test_rubbish_is_one_error(tmp_path_factory, archive, data, cut):
    place = tmp_path_factory.mktemp("rubbish") / "x.pt2"
    for content in (data, archive.read_bytes()[: int(archive.stat().st_size * cut)]):
        place.write_bytes(content)
        with pytest.raises(ModelError):
            load_model(place)
