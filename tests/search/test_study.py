from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeopt.errors import MachineError
from edgeopt.search.knobs import Knob
from edgeopt.search.study import Candidate, Study

_KNOBS = (Knob("prune.macs", (0.5, 0.7, "off")), Knob("distill.layers", ([1, 3], [3])))


def _report(study: Study, candidate: Candidate) -> None:
    study.report(candidate, 0.5, {"p50_ms": 1.0, "size_bytes": 10.0}, 0.0)


def test_the_recipe_comes_first_then_each_knob_alone(tmp_path: Path) -> None:
    study = Study(_KNOBS, None, tmp_path, seed=0)
    settings = [candidate.setting for candidate in study.propose(4)]
    assert settings == [
        {"prune.macs": 0.5, "distill.layers": [1, 3]},
        {"prune.macs": 0.7, "distill.layers": [1, 3]},
        {"prune.macs": "off", "distill.layers": [1, 3]},
        {"prune.macs": 0.5, "distill.layers": [3]},
    ]


def test_nothing_is_proposed_twice_and_all_of_a_small_space_is_reached(tmp_path: Path) -> None:
    study = Study(_KNOBS, None, tmp_path, seed=0)
    seen: list[str] = []
    for _ in range(6):
        for candidate in study.propose(3):
            seen.append(str(candidate.setting))
            _report(study, candidate)
    assert len(seen) == len(set(seen)) == study.size == 6
    assert study.propose(3) == []


def test_a_search_goes_on_where_it_was_and_tries_what_was_interrupted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study(_KNOBS, None, tmp_path, seed=0)
    monkeypatch.setattr(os, "getpid", lambda: 2**22 + 7)  # a process that does not run
    first, second, *_ = study.propose(3)
    monkeypatch.undo()
    _report(study, first)
    again = Study(_KNOBS, None, tmp_path, seed=0)  # as another process would: two of three were running
    settings = [candidate.setting for candidate in again.propose(6)]
    assert first.setting not in settings and second.setting in settings
    assert len(settings) == 5


def test_a_storage_that_cannot_be_reached_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"storage sqlite:////nowhere/at/all\.db: cannot be opened"):
        Study(_KNOBS, "sqlite:////nowhere/at/all.db", tmp_path, seed=0)
