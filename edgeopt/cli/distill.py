"""`edgeopt distill`: train a student on a teacher."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeopt.cli.options import Builder, Quiet, Set
from edgeopt.cli.output import say

if TYPE_CHECKING:
    from edgeopt.distill.result import DistillResult


def distill(
    teacher: Annotated[str, typer.Argument(help="The teacher: a saved or transformers folder, a hub id, or module:callable.")],
    train: Annotated[str, typer.Option("--train", "--data", help="Training samples: a file, a folder or a set.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the student.")],
    evaluate: Annotated[
        str | None, typer.Option("--evaluate", help="Labelled samples to choose the best weights with, and to score.")
    ] = None,
    unlabelled: Annotated[
        list[str] | None, typer.Option("--unlabelled", help="Further samples, labels not needed; may be repeated.")
    ] = None,
    student: Annotated[
        str | None, typer.Option("--student", help="The student: module:callable or a folder, such as a pruned model.")
    ] = None,
    layers: Annotated[str | None, typer.Option("--layers", help="Or the layers of the teacher to keep, such as 1,3,5.")] = None,
    width: Annotated[int | None, typer.Option("--width", help="Or the width to cut the teacher's hidden states to.")] = None,
    time: Annotated[str | None, typer.Option("--time", metavar="20m", help="Train at most this long.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="What the models are for; default: what the teacher says.")] = None,
    builder: Builder = None,
    changes: Set = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of everything random.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Distil: train a small student on a teacher's soft labels. A killed run resumes. Options: --set train.epochs=3."""
    from edgeopt.cli.lost import SEEN, Candidate, seen_lines
    from edgeopt.cli.options import read_options
    from edgeopt.cli.progress_bars import shown
    from edgeopt.cli.training_inputs import numbers, process_output, reader_samples, resumable, time_limit, training_samples
    from edgeopt.data.joined import joined
    from edgeopt.data.select import limited
    from edgeopt.distill.config import DistillOptions
    from edgeopt.distill.stage import Material
    from edgeopt.distill.stage import distill as run
    from edgeopt.models.load import load_model
    from edgeopt.tasks.registry import find_task, task_for
    from edgeopt.train.launched import rank

    given: dict[str, Any] = {"source": student, "width": width, "layers": numbers(layers) if layers else None}
    options = read_options(DistillOptions, [*time_limit(time, changes), *(changes or [])], **given)
    loaded = load_model(teacher, task=task, source_builder=builder)
    with shown(quiet=quiet or rank() > 0), process_output(output) as place:
        samples = training_samples(train, loaded, task=task)
        judged = reader_samples(evaluate, loaded, split="evaluation", task=task) if evaluate else None
        extra = [reader_samples(name, loaded, split="train", inputs=list(samples[0])) for name in unlabelled or []]
        chosen = find_task(task) if task else task_for(samples, loaded.purpose)
        material = Material(judged, joined(extra) if extra else None, chosen, builder)
        known = {**options.model_dump(mode="json"), "data": [data.digest for data in [*([judged] if judged else []), *extra]]}
        with resumable(output, seed=seed, models=[loaded], samples=samples, options=known) as session:
            result = run(loaded, samples, output=place, options=options, session=session, material=material)
        if rank():
            return
        lines: list[str] = []
        if judged is None:
            seen = limited(samples, SEEN, seed=seed)
            made = Candidate(str(output), load_model(output, source_builder=builder), seen)
            lines += seen_lines(Candidate(teacher, loaded, seen), made, task=task)
    say(f"{output}: {result.student.parameters:,} parameters, the teacher has {result.teacher.parameters:,}")
    _say_scores(result)
    for line in lines:
        say(line)


def _say_scores(result: DistillResult) -> None:
    """Print the student's metric beside the teacher's, the other trials, and their spread."""
    from edgeopt.report.summary import spread

    best = result.kept
    if best is None or result.teacher_score is None:
        return
    say(f"{best.metric}: {best.value:.4f} (step {best.step:,}), the teacher's {result.teacher_score:.4f}")
    for trial in result.trials:
        say(f"{trial.kind}, seed {trial.seed}: {trial.metric} {trial.value:.4f}")
    if result.trials:
        say(spread(result))
