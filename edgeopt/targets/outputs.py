"""Fetch the outputs of a variant that is open on a device."""

from __future__ import annotations

import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeopt.errors import MachineError
from edgeopt.lifetime import temporary_folder
from edgeopt.targets.requests import write_outputs
from edgeopt.targets.runner import Runner
from edgeopt.targets.transports import Connection

_NOT_ARRAYS = (OSError, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error)


def fetch_outputs(connection: Connection, runner: Runner, name: str) -> dict[str, NDArray[Any]]:
    """Return the outputs of the variant `name` for its batches, by "<batch>/<output name>".

    Raises:
        MachineError: the runner wrote no file of arrays.
    """
    with temporary_folder("edgeopt-outputs-") as folder:
        to = folder / "outputs.npz"
        path = write_outputs(runner, name).path
        try:
            connection.fetch(path, to)
            with np.load(to, allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files}
        except _NOT_ARRAYS as error:
            if isinstance(error, MachineError):
                raise
            raise MachineError(f"{connection.where}: the runner's file of outputs cannot be read: {error}") from error
