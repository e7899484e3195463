"""Untrusted archives of programs: nothing in them runs, and only what was checked is copied."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from edgeopt.errors import ModelError
from edgeopt.models import program_archive
from edgeopt.models.load import load_model
from edgeopt.models.program_archive import copy_checked, first_line


class Evil:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


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


def entries_of(path: Path) -> dict[str, bytes]:
    """Return the files of an archive by their names inside its folder."""
    with zipfile.ZipFile(path) as source:
        return {name.partition("/")[2]: source.read(name) for name in source.namelist()}


def test_a_copy_holds_the_tensors_and_the_graph_without_notes_and_guards(tmp_path, archive):
    graph = graph_of(archive)
    graph["guards_code"] = ["__import__('os').mkdir('evil')"]
    node = graph["graph_module"]["graph"]["nodes"][0]
    node["metadata"] = {"stack_trace": "File x", "nn_module_stack": "kept", "custom": "code"}
    given = changed(
        archive, tmp_path / "given.pt2", models_slash_model__json=json.dumps(graph).encode(), extra_slash_note=b"left out"
    )
    copy_checked(given, tmp_path / "copy.pt2")
    before, after = entries_of(given), entries_of(tmp_path / "copy.pt2")
    assert set(after) == set(before) - {"extra/note"}
    copied = json.loads(after.pop("models/model.json"))
    assert copied["guards_code"] == []
    assert copied["graph_module"]["graph"]["nodes"][0]["metadata"] == {"nn_module_stack": "kept"}
    raw = [name for name in after if not name.endswith((".json", ".pt"))]
    assert len([name for name in raw if name.startswith("data/weights/weight_")]) == 4
    assert all(after[name] == before[name] for name in raw)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("as_int", "1"),
        ("as_int", 2**64),
        ("as_int", True),
        ("as_ints", [1, 2.5]),
        ("as_float", "1e999"),
        ("as_bool", 1),
        ("as_bools", True),
        ("as_name", "a b"),
        ("as_name", 3),
        ("fqn", "head;weight"),
        ("forward_arg_names", "x"),
        ("as_custom_obj", {}),
        ("as_graph", {"graph": {}}),
    ],
)
def test_fields_of_a_form_that_torch_never_writes_are_refused(tmp_path, archive, field, value):
    graph = graph_of(archive)
    graph["graph_module"]["graph"]["nodes"][0]["inputs"].append({"name": "x", "arg": {field: value}})
    bad = changed(archive, tmp_path / "bad.pt2", models_slash_model__json=json.dumps(graph).encode())
    with pytest.raises(ModelError, match=rf"'{field}' is .*, which torch\.export never writes; refused"):
        copy_checked(bad, tmp_path / "copy.pt2")


@pytest.mark.parametrize("value", [0.5, -3, "Infinity", "-Infinity", "NaN"])
def test_numbers_are_read_as_torch_writes_them(tmp_path, archive, value):
    graph = graph_of(archive)
    graph["graph_module"]["graph"]["nodes"][0]["inputs"].append({"name": "x", "arg": {"as_float": value}})
    fine = changed(archive, tmp_path / "fine.pt2", models_slash_model__json=json.dumps(graph).encode())
    copy_checked(fine, tmp_path / "copy.pt2")
    inputs = json.loads(entries_of(tmp_path / "copy.pt2")["models/model.json"])["graph_module"]["graph"]["nodes"][0]["inputs"]
    assert inputs[-1]["arg"] == {"as_float": value}


def test_an_archive_without_a_graph_and_one_that_is_none_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "empty.pt2", "w") as empty:
        empty.writestr("model/archive_version", "0")
    with pytest.raises(ModelError, match=r"it has no 'models/model\.json'"):
        copy_checked(tmp_path / "empty.pt2", tmp_path / "copy.pt2")
    with pytest.raises(ModelError, match=r"not a torch.export archive \(\.pt2\), or damaged"):
        copy_checked(tmp_path / "nothing.pt2", tmp_path / "copy.pt2")


def test_an_archive_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(program_archive, "_MOST_JSON_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "bomb.pt2", "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("model/data/weights/weight_0", bytes(100_000))
    size = (tmp_path / "bomb.pt2").stat().st_size
    assert 16 * size + 1000 < 100_000
    with pytest.raises(ModelError, match=f"would be 100,000 bytes unpacked, from {size:,}; refused"):
        copy_checked(tmp_path / "bomb.pt2", tmp_path / "copy.pt2")


def test_a_compression_that_torch_does_not_write_is_refused(tmp_path, archive):
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(tmp_path / "a.pt2", "w", zipfile.ZIP_BZIP2) as copy:
        for name in source.namelist():
            copy.writestr(name, source.read(name))
    with pytest.raises(ModelError, match="compressed in a way that torch does not write"):
        load_model(tmp_path / "a.pt2")


def test_an_entry_without_a_name_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "p.pt2", "w") as archive:
        archive.writestr("x", "")
    content = (tmp_path / "p.pt2").read_bytes()
    directory = content.index(b"PK\x01\x02")
    unnamed = content[: directory + 28] + b"\0\0\1\0" + content[directory + 32 :]  # (its name is read as a field of its own)
    (tmp_path / "p.pt2").write_bytes(unnamed)
    # (Python 3.11 has no such entry; later ones read it, and it is none of an archive's)
    with pytest.raises(ModelError, match=r"not a torch\.export archive|holds ''"):
        copy_checked(tmp_path / "p.pt2", tmp_path / "copy.pt2")


def test_an_error_is_told_in_its_first_line():
    assert first_line(ValueError("\n one\ntwo")) == "one"
    assert first_line(KeyError()) == "KeyError"
    assert first_line(ValueError("x" * 400)) == "x" * 300
