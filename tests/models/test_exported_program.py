from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeopt.errors import ModelError
from edgeopt.export import export
from edgeopt.models.exported_program import check_archive
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
    with pytest.raises(ModelError, match="no arithmetic of symbols"):
        load_model(bad)
    assert not (tmp_path / "evil").exists()


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
            check_archive(place)
