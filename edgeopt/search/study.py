"""Which candidates are tried: Optuna proposes, its storage remembers, and several machines may share it.

The design begins with proposals of the dynamic programme (`proposals`), or else with the recipe as it is and each knob alone at
each of its other values; then the sampler (TPE over metric, time and size, with the budgets as constraints) proposes from what
was measured. A storage is a file of the search's folder, or a database (``postgresql://…``, ``sqlite:///…``) or a journal in
Redis (``redis://…``) that searches on several machines share.
"""

from __future__ import annotations

import json
import logging
import os
import random
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeopt.errors import EdgeoptError, MachineError
from edgeopt.extras import need
from edgeopt.files import alive
from edgeopt.search.knobs import Knob, Setting
from edgeopt.search.proposals import PROPOSAL, Proposal, spread, with_proposals

if TYPE_CHECKING:
    import optuna

_ATTEMPTS = 20
_WORST = {"metric": -1e9, "p50_ms": 1e9, "size_bytes": 1e15}
_HOLDER, _PROPOSALS = "holder", "proposals"


@dataclass(frozen=True)
class Beginning:
    """Where a study's first candidates come from.

    Attributes:
        propose: returns them; it may take minutes.
        count: how many of them are tried first; the sampler chooses among the others.
        identity: what they depend on; another identity is another study.
    """

    propose: Callable[[], Sequence[Proposal]]
    count: int
    identity: Any


@dataclass(frozen=True)
class Candidate:
    """A proposal: its number in the study, and what it sets."""

    number: int
    setting: Setting
    proposal: Proposal | None = None
    """What the dynamic programme predicts of it; none: it is none of the programme's."""

    @property
    def name(self) -> str:
        """What it is called in folders and tables."""
        return f"c{self.number:03d}"


class Study:
    """The candidates of one search."""

    def __init__(
        self, knobs: Sequence[Knob], storage: str | None, folder: Path, *, seed: int, beginning: Beginning | None = None
    ) -> None:
        """Open the study of this search, or begin it.

        Args:
            knobs: what is varied.
            storage: address of a database; none: a file in the folder.
            folder: of the search.
            seed: of the sampler.
            beginning: proposes the first candidates; what it proposed is stored, and not asked for again.

        Raises:
            MachineError: Optuna is not installed, or the storage cannot be reached.
        """
        need("optuna", purpose="a search")
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.getLogger("optuna").setLevel(logging.ERROR)
        self._storage = storage or str(folder)
        identity = [{knob.key: knob.choices for knob in knobs}, *([beginning.identity] if beginning else [])]
        name = f"edgeopt {folder.name} {_hash(identity)}"
        with self._reached("cannot be opened"):
            self._study = optuna.create_study(
                study_name=name,
                storage=_storage(storage, folder),
                sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=1),
                directions=["maximize", "minimize", "minimize"],
                load_if_exists=True,
            )
        self.proposals = self._proposed(beginning)
        self._knobs = with_proposals(knobs, self.proposals)
        self._choices = {knob.key: dict(zip(knob.labels, knob.choices, strict=True)) for knob in self._knobs}
        self._trials: dict[int, optuna.Trial] = {}
        with self._reached("was lost"):
            if not self._study.trials:
                for setting in self._design(beginning.count if beginning else 0):
                    self._study.enqueue_trial(setting)
            self._try_abandoned_again()

    @contextmanager
    def _reached(self, what: str) -> Iterator[None]:
        """Turn what the storage's library raises into one line."""
        try:
            yield
        except EdgeoptError:
            raise
        except Exception as error:  # (each database has its own)
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise MachineError(
                f"storage {self._storage}: {what}: {reason}; make it reachable and run the search again, or leave --storage out"
            ) from error

    def _proposed(self, beginning: Beginning | None) -> tuple[Proposal, ...]:
        """Return the proposals that the study stores; the first to open it asks for them."""
        if beginning is None:
            return ()
        with self._reached("was lost"):
            known = self._study.user_attrs.get(_PROPOSALS)
        if known is None:
            made = beginning.propose()
            with self._reached("was lost"):
                known = self._study.user_attrs.get(_PROPOSALS)  # another machine may have been faster
                if known is None:
                    known = [asdict(one) for one in made]
                    self._study.set_user_attr(_PROPOSALS, known)
        return tuple(Proposal(**one) for one in known)

    def _design(self, count: int) -> list[dict[str, str]]:
        """Return `count` proposals, or else the recipe's own values; then each other value of each knob alone."""
        own = {knob.key: knob.labels[0] for knob in self._knobs}
        if self.proposals:
            first, others = self._knobs[0], self._knobs[1:]
            chosen = [{**own, first.key: first.labels[self.proposals.index(one)]} for one in spread(self.proposals, count)]
            return chosen + [{**chosen[0], knob.key: label} for knob in others for label in knob.labels[1:]]
        return [own, *({**own, knob.key: label} for knob in self._knobs for label in knob.labels[1:])]

    def _try_abandoned_again(self) -> None:
        """Propose once more what a process of this machine had begun that is no more; what others work on is left to them."""
        import optuna

        for trial in self._study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
            host, _, process = str(trial.user_attrs.get(_HOLDER, "")).rpartition(" ")
            if host == socket.gethostname() and not alive(int(process)):
                self._study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
                self._study.enqueue_trial(trial.params)

    def tried(self) -> list[Candidate]:
        """Return the candidates that were reported before, by whichever process."""
        with self._reached("was lost"):
            return [self._candidate(trial.number, trial.params) for trial in self._study.trials if trial.values]

    def propose(self, count: int) -> list[Candidate]:
        """Return at most `count` candidates that were not tried before; fewer where nothing new is left."""
        with self._reached("was lost"):
            return self._propose(count)

    def _propose(self, count: int) -> list[Candidate]:
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
            found.append(self._candidate(trial.number, params))
        return found

    def _candidate(self, number: int, params: Mapping[str, str]) -> Candidate:
        setting: dict[str, Any] = {}
        for key, value in params.items():
            setting |= self._choices[key][value] if key == PROPOSAL else {key: self._choices[key][value]}
        name = params.get(PROPOSAL)
        return Candidate(number, setting, None if name is None else self.proposals[self._knobs[0].labels.index(name)])

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

    def report(self, candidate: Candidate, rank: float, figures: Mapping[str, float], over: float) -> None:
        """Tell the sampler how good a candidate is (`rank`: larger is better), and how far `over` its budgets (above 0)."""
        trial = self._trials.pop(candidate.number, None)
        if trial is None:
            return
        with self._reached("was lost"):
            trial.set_constraint("budgets", over)
            self._study.tell(trial, [rank, figures.get("p50_ms", 0.0), figures.get("size_bytes", 0.0)])

    def fail(self, candidate: Candidate, reason: str) -> None:
        """Tell the sampler that a candidate could not be measured, or is not worth it."""
        trial = self._trials.pop(candidate.number, None)
        if trial is None:
            return
        with self._reached("was lost"):
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
