"""What commands that train share: samples from any source, and a checkpoint beside the output that a killed run resumes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeopt.data.samples import Samples
    from edgeopt.models.load import LoadedModel
    from edgeopt.train.loop import Session


def training_samples(data: str, model: LoadedModel) -> Samples:
    """Return the samples that `data` names, of a calibration set its training split; see `edgeopt.data.source`."""
    from edgeopt.data.source import open_source
    from edgeopt.data.source_options import Reader

    has_tokenizer = model.folder is not None and (model.folder / "tokenizer.json").is_file()
    return open_source(data, Reader((), model.folder if has_tokenizer else None), split="train")


@contextmanager
def resumable(
    output: Path, *, seed: int, models: Sequence[LoadedModel], samples: Samples, options: Mapping[str, Any]
) -> Iterator[Session]:
    """Yield the session of a training that a later call with the very same arguments goes on with if this one is killed.

    Its checkpoint lies in ``.<name>.checkpoint`` beside the output and goes away when the training is done.
    """
    from edgeopt import __version__
    from edgeopt.files import disk_errors
    from edgeopt.store import key_of
    from edgeopt.train.checkpoint import weights_hash
    from edgeopt.train.loop import Session

    output = Path(output)
    folder = output.with_name(f".{output.name}.checkpoint")
    weights = [weights_hash(model.module) for model in models]
    key = key_of({"models": weights, "data": samples.digest, "options": options, "seed": seed, "edgeopt": __version__})
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    yield Session(seed, folder, key)
    shutil.rmtree(folder, ignore_errors=True)
