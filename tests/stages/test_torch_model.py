"""How stages load PyTorch models and where they keep their checkpoint."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from edgeopt.errors import RecipeError
from edgeopt.stages.torch_model import load, refuse_two_graphs, session


def job(*, distill: str | None, teacher: str | None):
    options = {"distill": distill and SimpleNamespace(source=distill), "teacher": teacher and SimpleNamespace(source=teacher)}
    inputs = {"teacher": Path("t"), "distill": Path("d")}
    workspace = SimpleNamespace(checkpoint=Path("c"))
    return SimpleNamespace(recipe=SimpleNamespace(seed=7, **options), inputs=inputs, workspace=workspace)


@pytest.mark.parametrize(
    ("stage", "distill", "teacher", "builder"),
    [
        ("distill", "a:student", "a:teacher", "a:student"),
        ("teacher", "a:student", "a:teacher", "a:teacher"),
        ("distill", None, "a:teacher", "a:teacher"),
        ("teacher", "a:student", None, "a:student"),
        ("teacher", None, None, None),
    ],
)
def test_the_recipes_own_builder_is_trusted(monkeypatch, stage, distill, teacher, builder):
    asked = {}
    monkeypatch.setattr("edgeopt.models.load.load_model", lambda folder, **rest: asked.update(rest, folder=folder))
    load(job(distill=distill, teacher=teacher), stage)
    assert asked == {"folder": Path(stage[0]), "source_builder": builder}


def test_a_session_has_seed_and_checkpoint():
    found = session(job(distill=None, teacher=None))
    assert (found.seed, found.checkpoint) == (7, Path("c"))


def test_a_model_of_two_graphs_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"t5: an encoder-decoder becomes two graphs.*edgeopt train, distill, export"):
        refuse_two_graphs("text2text-generation", "t5")
    refuse_two_graphs("text-generation", "llama")
