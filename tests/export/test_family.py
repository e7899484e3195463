from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from edgeopt.errors import ModelError
from edgeopt.export import registry
from edgeopt.export.family import Family, Input, Task, random_samples
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


def test_tasks_are_read_off_the_head_and_a_missing_head_is_told():
    family = load_family("bert")
    assert family.task_of("BertForTokenClassification", None) == "token-classification"
    assert family.task_of("BertModel", "sentence-similarity") == "sentence-similarity"
    assert load_family("vit").task_of("ViTModel", "feature-extraction") == "image-feature-extraction"
    with pytest.raises(ModelError, match=r"no head for text-classification; .* ends in ForSequenceClassification"):
        family.task_of("BertModel", "text-classification")
    with pytest.raises(ModelError, match=r"no task 'token-classificatoin' \(did you mean 'token-classification'\?\)"):
        family.task_of("BertModel", "token-classificatoin")


def test_random_samples_have_three_shapes_and_consistent_axes():
    shape = ("batch", "past_sequence + sequence")
    task = Task(
        ("Model",),
        "AutoModel",
        lambda config: {
            "ids": Input(("batch", "sequence"), "tokens"),
            "mask": Input(shape, "mask"),
            "past": Input(("batch", 2)),
        },
        (),
    )
    samples = random_samples(task, SimpleNamespace(vocab_size=9))
    assert len({batch["ids"].shape for batch in samples}) == 3
    assert [batch["mask"].shape[1] - batch["ids"].shape[1] for batch in samples] == [4, 3, 6]
    assert all(batch["ids"].max() < 9 and batch["mask"][:, 0].all() for batch in samples)
    again = random_samples(task, SimpleNamespace(vocab_size=9))
    assert all(np.array_equal(a["past"], b["past"]) for a, b in zip(samples, again, strict=True))
