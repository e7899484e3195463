"""The typed results of a run's stages; any stage may be missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from edgeopt.bundle.result import BundleResult
from edgeopt.distill.result import DistillFacts
from edgeopt.evaluate.result import VerifyFacts
from edgeopt.export.result import ExportFacts
from edgeopt.models.model_size import ModelSize
from edgeopt.profile.result import GenerationFacts, ProfileResult
from edgeopt.prune.result import PruneFacts
from edgeopt.quantize.result import QuantizeFacts
from edgeopt.report.record import StageRecord
from edgeopt.stages.results import StageFacts, read_facts
from edgeopt.stages.teacher import TeacherFacts
from edgeopt.train.epoch import Epoch, Evaluation

FactsType = TypeVar("FactsType")


@dataclass(frozen=True)
class Results:
    """The result of each stage, by its name, and each kind of result that a run has once."""

    stages: Mapping[str, StageFacts]
    teacher: TeacherFacts | None = None
    distill: DistillFacts | None = None
    prune: PruneFacts | None = None
    quantize: QuantizeFacts | None = None
    verify: VerifyFacts | None = None
    profile: ProfileResult | None = None
    generation: GenerationFacts | None = None
    bundle: BundleResult | None = None
    exports: Mapping[str, ExportFacts] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[StageRecord]) -> Results:
        """Return the results in the records of stages.

        Raises:
            DataError: a result is not what its stage writes; the message names stage and key.
        """
        read = ((record.stage, read_facts(record.stage, record.facts)) for record in records)
        stages = {name: facts for name, facts in read if facts is not None}
        exports = {name: facts for name, facts in stages.items() if isinstance(facts, ExportFacts)}
        return replace(
            cls(stages, exports=exports),
            teacher=_one(stages, TeacherFacts),
            distill=_one(stages, DistillFacts),
            prune=_one(stages, PruneFacts),
            quantize=_one(stages, QuantizeFacts),
            verify=_one(stages, VerifyFacts),
            profile=_one(stages, ProfileResult),
            generation=_one(stages, GenerationFacts),
            bundle=_one(stages, BundleResult),
        )

    def trained(self) -> dict[str, tuple[ModelSize, tuple[Epoch, ...]]]:
        """Return the size of what each training stage made, and its epochs, by the name of the stage."""
        found: dict[str, tuple[ModelSize, tuple[Epoch, ...]]] = {}
        if self.teacher:
            found["teacher"] = (self.teacher, self.teacher.history)
        if self.distill:
            found["distill"] = (self.distill.student, self.distill.history)
        if self.prune:
            found["prune"] = (self.prune.after, self.prune.history)
        return found

    def evaluations(self, stage: str) -> tuple[Evaluation, ...]:
        """Return the evaluations during the training of `stage`, in order; empty where there were none."""
        facts = self.stages.get(stage)
        return facts.evaluations if isinstance(facts, TeacherFacts | DistillFacts) else ()


def _one(stages: Mapping[str, StageFacts], kind: type[FactsType]) -> FactsType | None:
    return next((facts for facts in stages.values() if isinstance(facts, kind)), None)
