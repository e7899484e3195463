"""`edgeopt train`: fine-tune a model on labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeopt.cli.options import Builder, Quiet, Set
from edgeopt.cli.output import say


def train(
    model: Annotated[str, typer.Argument(help="The model: a saved or transformers folder, a hub id, or module:callable.")],
    data: Annotated[str, typer.Option("--train", "--data", help="Labelled training samples: a file, a folder or a set.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the trained model.")],
    evaluate: Annotated[
        str | None, typer.Option("--evaluate", help="Labelled samples to choose the best weights with, and to score.")
    ] = None,
    lora: Annotated[
        bool, typer.Option("--lora", help="Train low-rank updates (LoRA) and merge them into the weights.")
    ] = False,
    p_tuning: Annotated[
        bool, typer.Option("--p-tuning", help="Train virtual tokens in front of every text, and nothing else but the head.")
    ] = False,
    time: Annotated[str | None, typer.Option("--time", metavar="20m", help="Train at most this long.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="What the model is for; default: what its folder says.")] = None,
    builder: Builder = None,
    changes: Set = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of everything random.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Train: fine-tune a model on labels. A killed run resumes. Options: --set epochs=3.0 (see TrainOptions).

    A transformers model without a head for the task and the classes of the samples gets a new one.
    """
    from edgeopt.cli.options import read_options
    from edgeopt.cli.progress_bars import shown
    from edgeopt.cli.training_inputs import process_output, reader_samples, resumable, time_limit, to_train, training_samples
    from edgeopt.errors import RecipeError
    from edgeopt.lifetime import temporary_folder
    from edgeopt.tasks.registry import find_task, task_for
    from edgeopt.train.config import TrainOptions
    from edgeopt.train.fine_tune import fine_tune, save_trained
    from edgeopt.train.launched import rank
    from edgeopt.train.virtual_tokens import add_virtual_tokens

    given = [change.removeprefix("train.") for change in time_limit(time, [f"train.{change}" for change in changes or []])]
    if lora and p_tuning:
        raise RecipeError("--lora and --p-tuning are two ways of training; give one of them")
    if lora or p_tuning:
        given.append(f"adapter.kind={'lora' if lora else 'p-tuning'}")
    options = read_options(TrainOptions, [*given, *(changes or [])])
    with shown(quiet=quiet or rank() > 0), process_output(output) as place, temporary_folder() as folder:
        loaded, samples = to_train(model, data, task=task, builder=builder, seed=seed)
        if options.adapter is not None and options.adapter.kind == "p-tuning":
            loaded = add_virtual_tokens(loaded, options.adapter.virtual_tokens, folder)
            samples = training_samples(data, loaded, task=task)
        judged = reader_samples(evaluate, loaded, split="evaluation", task=task) if evaluate else None
        chosen = find_task(task) if task else task_for(samples, loaded.purpose)
        known = {**options.model_dump(mode="json"), "data": judged.digest if judged else None}
        with resumable(output, seed=seed, models=[loaded], samples=samples, options=known) as session:
            result = fine_tune(loaded, samples, chosen, options=options, session=session, evaluation=judged)
            save_trained(loaded, samples, place)
    if rank():
        return
    say(f"{output}: trained for {result.steps:,} steps")
    for evaluation in result.evaluations:
        kept = ", kept" if evaluation.step == result.kept_step else ""
        say(f"{evaluation.metric} after step {evaluation.step:,}: {evaluation.value:.4f}{kept}")
