"""What is no text encoder."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeopt.errors import ModelError
from edgeopt.generate.server.encoder import Encoder


def test_a_model_that_is_neither_is_refused(portable: Path) -> None:
    with pytest.raises(ModelError, match="neither a language model nor a text encoder"):
        Encoder(portable)
