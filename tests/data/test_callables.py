"""Samples from Python: what a callable may return, and what is refused in one line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgeopt.data.callables import call_source
from edgeopt.data.samples import from_arrays
from edgeopt.errors import DataError


def refusal(source: str) -> str:
    with pytest.raises(DataError) as caught:
        call_source(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the user that can be imported as own_data."""
    module = ModuleType("own_data")
    monkeypatch.setitem(sys.modules, "own_data", module)
    return module


def test_a_function_of_the_current_folder_gives_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_samples.py").write_text(
        "import numpy as np\n"
        "def make():\n    return ({'x': np.full(index + 1, index, np.float32)} for index in range(3))\n"
        "def broken():\n    raise ValueError('no disk')\n"
        "def wrong():\n    return [1, 2]\n"
    )
    monkeypatch.chdir(tmp_path)
    samples = call_source("own_samples:make")
    assert [samples[index]["x"].shape for index in range(3)] == [(1,), (2,), (3,)]
    assert samples.digest == call_source("own_samples:make").digest
    assert "fails: ValueError: no disk" in refusal("own_samples:broken")
    assert "sample 0 is int" in refusal("own_samples:wrong")
    assert "cannot be imported" in refusal("own_samples:nothing")
    assert str(tmp_path) not in sys.path
    monkeypatch.delitem(sys.modules, "own_samples")


def test_samples_are_returned_as_they_are(own: Any) -> None:
    made = from_arrays({"x": np.zeros((2, 3))}, np.array([1, 0]))
    own.make = lambda: made
    assert call_source("own_data:make") is made


class Counted(Sequence[Any]):
    """Three samples that count how often each was read."""

    def __init__(self) -> None:
        self.read = [0, 0, 0]

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: Any) -> Any:
        if index >= 3:
            raise IndexError(index)
        self.read[index] += 1
        return {"x": [float(index)], 7: index}


def test_a_sequence_is_read_when_a_sample_is_needed(own: Any) -> None:
    counted = Counted()
    own.make = lambda: counted
    samples = call_source("own_data:make")
    assert counted.read == [1, 1, 1], "once, for the digest"
    sample = samples[2]
    assert counted.read == [1, 1, 2]
    assert {name: value.tolist() for name, value in sample.items()} == {"x": [2.0], "7": 2}


def test_the_digest_is_of_names_and_values(own: Any) -> None:
    digests = []
    for sample in ({"x": [1.0]}, {"x": [2.0]}, {"y": [1.0]}, {"x": [1.0]}):
        own.make = lambda sample=sample: iter([sample])
        digests.append(call_source("own_data:make").digest)
    assert digests[0] == digests[3] and len(set(digests)) == 3


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ({"x": [1]}, "returns dict; return an iterable of samples"),
        ("text", "returns str; return an iterable of samples"),
        (b"raw", "returns bytes; return an iterable of samples"),
        (None, "returns NoneType; return an iterable of samples"),
        ([], "returns no samples"),
        (iter(()), "returns no samples"),
        ([{"x": [1]}, {}], "sample 1 is dict; return a mapping of arrays by input name"),
        ([{"x": [1]}, [1]], "sample 1 is list; return a mapping of arrays by input name"),
    ],
)
def test_what_gives_no_samples_is_refused(own: Any, returned: object, said: str) -> None:
    own.make = lambda: returned
    assert refusal("own_data:make").startswith(f"own_data:make: {said}")


def test_what_is_not_callable_and_what_has_no_name_is_refused(own: Any) -> None:
    own.number = 3
    assert refusal("own_data:number") == "own_data:number: is int, not a callable"
    assert "cannot be imported" in refusal("own_data:")
    assert "cannot be imported" in refusal("no_such_module:make")


def test_a_generator_that_fails_halfway_is_refused_in_one_line(own: Any) -> None:
    def make() -> Any:
        yield {"x": [1]}
        raise OSError("no disk")

    own.make = make
    assert refusal("own_data:make") == "own_data:make: fails: OSError: no disk"


class Failing(Counted):
    """Cannot read its last sample the second time."""

    def __getitem__(self, index: Any) -> Any:
        sample = super().__getitem__(index)
        if self.read[2] > 1:
            raise OSError("no disk")
        return sample


def test_a_sequence_that_fails_later_is_refused_in_one_line(own: Any) -> None:
    own.make = Failing
    samples = call_source("own_data:make")
    with pytest.raises(DataError, match="own_data:make: fails: OSError: no disk"):
        samples[2]


def test_what_is_called_label_is_one(own: ModuleType) -> None:
    own.classes = lambda: [{"x": np.ones(2), "label": number} for number in (1, 0, 1)]
    found = call_source("own_data:classes")
    assert found.labels is not None
    assert found.labels.tolist() == [1, 0, 1]
    assert list(found[0]) == ["x"]
    for name, values in {"numbers": [0.5, 1.5], "texts": ["one", "two"]}.items():
        setattr(own, name, lambda values=values: [{"x": np.ones(2), "labels": value} for value in values])
        assert call_source(f"own_data:{name}").annotations == values
    own.named = lambda: [{"x": np.ones(2), "label": name} for name in ("yes", "no", "yes")]
    found = call_source("own_data:named")
    assert found.labels is not None
    assert (found.labels.tolist(), found.names) == ([1, 0, 1], ("no", "yes"))
    own.alone = lambda: [{"label": np.ones(2)}]
    assert list(call_source("own_data:alone")[0]) == ["label"], "it is the only input"
    own.some = lambda: [{"x": np.ones(2), "label": 1}, {"x": np.ones(2)}]
    assert "sample 1 has no label, and others have one" in refusal("own_data:some")
