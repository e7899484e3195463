"""Which candidates are tried: Optuna proposes, its storage remembers, and several machines may share it.

The design begins with the recipe as it is and with each knob alone at each of its other values; then the sampler (TPE over
metric, time and size, with the budgets as constraints) proposes from what was measured. A storage is a file of the search's
folder, or a database (``postgresql://…``, ``sqlite:///…``) or a journal in Redis (``redis://…``) that searches on several
machines share.
"""

from __future__ import annotations

import json
import logging
import os
import random
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt.errors import MachineError
from edgeopt.extras import need
from edgeopt.files import alive
from edgeopt.search.knobs import Knob, Setting

if TYPE_CHECKING:
    import optuna

_ATTEMPTS = 20
_WORST = {"metric": -1e9, "p50_ms": 1e9, "size_bytes": 1e15}
_HOLDER = "holder"


@dataclass(frozen=True)
class Candidate:
    """A proposal: its number in the study, and what it sets."""

    number: int
    setting: Setting

    @property
    def name(self) -> str:
        """What it is called in folders and tables."""
        return f"c{self.number:03d}"


class Study:
    """The candidates of one search."""

    def __init__(self, knobs: Sequence[Knob], storage: str | None, folder: Path, *, seed: int) -> None:
        """Open the study of this search, or begin it.

        Raises:
            MachineError: Optuna is not installed, or the storage cannot be reached.
        """
        need("optuna", purpose="a search")
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.getLogger("optuna").setLevel(logging.ERROR)
        self._knobs = tuple(knobs)
        self._choices = {knob.key: dict(zip(knob.labels, knob.choices, strict=True)) for knob in knobs}
        name = f"edgeopt {folder.name} {_hash(self._choices)}"
        try:
            self._study = optuna.create_study(
                study_name=name,
                storage=_storage(storage, folder),
                sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=1),
                directions=["maximize", "minimize", "minimize"],
                load_if_exists=True,
            )
        except Exception as error:  # (each database has its own)
            reason = str(error).splitlines()[0][:200]
            raise MachineError(
                f"storage {storage or folder}: cannot be opened: {reason}; start it, or leave --storage out"
            ) from error
        self._trials: dict[int, optuna.Trial] = {}
        if not self._study.trials:
            for setting in self._design():
                self._study.enqueue_trial(setting)
        self._try_abandoned_again()

    def _design(self) -> list[dict[str, str]]:
        """Return the recipe's own values, then each other value of each knob alone, then all knobs at their last but one."""
        own = {knob.key: knob.labels[0] for knob in self._knobs}
        return [own, *({**own, knob.key: label} for knob in self._knobs for label in knob.labels[1:])]

    def _try_abandoned_again(self) -> None:
        """Propose once more what a process of this machine had begun that is no more; what others work on is left to them."""
        import optuna

        for trial in self._study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
            host, _, process = str(trial.user_attrs.get(_HOLDER, "")).rpartition(" ")
            if host == socket.gethostname() and not alive(int(process)):
                self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
                self._study.enqueue_trial(trial.params)

    def propose(self, count: int) -> list[Candidate]:
        """Return at most `count` candidates that were not tried before; fewer where nothing new is left."""
        known = {self._label(trial.params) for trial in self._study.trials if trial.values or trial.number in self._trials}
        found: list[Candidate] = []
        for attempt in range(_ATTEMPTS * count):
            if len(found) == count or len(known) >= self.size:
                break
            if attempt >= 2 * count:
                self._study.enqueue_trial(self._new(known, seed=attempt))  # the sampler has nothing new to say
            trial = self._study.ask()
            trial.set_user_attr(_HOLDER, f"{socket.gethostname()} {os.getpid()}")
            params = {knob.key: trial.suggest_categorical(knob.key, knob.labels) for knob in self._knobs}
            label = self._label(params)
            if label in known:
                self._forget(trial)
                continue
            known.add(label)
            self._trials[trial.number] = trial
            found.append(Candidate(trial.number, {key: self._choices[key][value] for key, value in params.items()}))
        return found

    def _new(self, known: set[str], *, seed: int) -> dict[str, str]:
        """Return a combination that is not known, drawn at random."""
        generator = random.Random(seed)
        while True:
            params = {knob.key: generator.choice(knob.labels) for knob in self._knobs}
            if self._label(params) not in known:
                return params

    @property
    def size(self) -> int:
        """How many candidates there are in all."""
        total = 1
        for knob in self._knobs:
            total *= len(knob.choices)
        return total

    def report(self, candidate: Candidate, metric: float, figures: Mapping[str, float], over: float) -> None:
        """Tell the sampler what a candidate gave; `over`: how far beyond its budgets it is, 0 or less if it keeps them."""
        trial = self._trials.pop(candidate.number, None)
        if trial is None:
            return
        trial.set_constraint("budgets", over)
        self._study.tell(trial, [metric, figures.get("p50_ms", 0.0), figures.get("size_bytes", 0.0)])

    def fail(self, candidate: Candidate, reason: str) -> None:
        """Tell the sampler that a candidate could not be measured."""
        trial = self._trials.pop(candidate.number, None)
        if trial is not None:
            trial.set_constraint("budgets", 1e6)
            trial.set_user_attr("error", reason[:500])
            self._study.tell(trial, list(_WORST.values()))

    def _forget(self, trial: optuna.Trial) -> None:
        import optuna

        self._study.tell(trial, state=optuna.trial.TrialState.FAIL)

    @staticmethod
    def _label(params: Mapping[str, Any]) -> str:
        return json.dumps(params, sort_keys=True)


def _storage(url: str | None, folder: Path) -> Any:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalRedisBackend

    if url is None:
        folder.mkdir(parents=True, exist_ok=True)
        file = str(folder / "study.log")
        return JournalStorage(JournalFileBackend(file, lock_obj=JournalFileOpenLock(file)))
    if url.startswith(("redis://", "rediss://")):
        return JournalStorage(JournalRedisBackend(url))
    from sqlalchemy.pool import NullPool

    return RDBStorage(url, engine_kwargs={"poolclass": NullPool})  # connections are closed when they are not used


def _hash(values: Any) -> str:
    import hashlib

    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]
