"""Families by name and by the model's type, edgeopt's and those of other packages."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from edgeopt.errors import ModelError
from edgeopt.export import registry
from edgeopt.export.family import Family
from edgeopt.export.registry import FAMILIES, family_names, family_of, load_family
from edgeopt.export.text import text_encoder


def test_every_family_in_the_table_loads_and_says_what_it_is_for():
    for name, types in FAMILIES.items():
        family = load_family(name)
        assert (family.name, set(family.model_types)) == (name, set(types))
        assert family.tasks and family.tiny


def test_loading_families_imports_neither_torch_nor_transformers():
    code = (
        "import sys; from edgeopt.export.registry import FAMILIES, load_family; [load_family(name) for name in FAMILIES];"
        "print({'torch', 'transformers', 'onnxruntime'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"


def test_an_unknown_model_type_names_the_nearest_and_the_way_out():
    with pytest.raises(ModelError, match=r"type 'robert' \(did you mean 'roberta'\?\).*family 'generic'"):
        family_of("robert")
    with pytest.raises(ModelError, match=r"family 'bertt' does not exist \(did you mean 'bert'\?\)"):
        load_family("bertt")


def test_a_third_party_family_comes_through_the_entry_points(monkeypatch):
    family = Family("novel", ("novelnet",), text_encoder())
    point = SimpleNamespace(name="novel", load=lambda: SimpleNamespace(FAMILY=family))
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == "edgeopt.exporters" else [])
    assert family_of("novelnet") is family
    assert "novel" in family_names()


def test_no_two_families_claim_one_type() -> None:
    types = [kind for kinds in FAMILIES.values() for kind in kinds]
    assert len(types) == len(set(types))
    assert family_of("camembert").name == "roberta" and family_of("glm4").name == "glm"
    assert family_names() == sorted(family_names()) and set(FAMILIES) <= set(family_names())


def test_a_family_of_another_package_counts_before_edgeopts(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name, and by the type of model that it claims; its entry point may name the family itself."""
    family = Family("bert", ("bert", "novelnet"), text_encoder())
    point = SimpleNamespace(name="bert", load=lambda: family)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point])
    assert load_family("bert") is family
    assert family_of("bert") is family
    assert family_names().count("bert") == 1
    assert load_family("vit").name == "vit"
