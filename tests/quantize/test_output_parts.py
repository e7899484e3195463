"""Channels of another size than the others are compared by themselves."""

import numpy as np
import pytest

from edgeopt.quantize.output_parts import Part, PartsNoise, parts_of


def boxes_and_scores(axis: int) -> np.ndarray:
    """Return 3 samples with 4 channels up to 640 and 6 up to 1, along `axis` of three."""
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.uniform(0, 640, (3, 50, 4)), generator.uniform(0, 1, (3, 50, 6))], axis=2)
    return np.moveaxis(values, 2, axis).astype(np.float32)


@pytest.mark.parametrize("axis", [1, 2])
def test_lost_scores_show_beside_boxes(axis: int) -> None:
    exact = boxes_and_scores(axis)
    rounded = np.where(exact > 1, exact, 0)
    noise = PartsNoise(parts_of(["y"], [{"y": exact[:1]}, {"y": exact[1:]}]))
    noise.add({"y": exact}, {"y": rounded})
    assert {part.name: round(db, 6) for part, db in noise.db.items()} == {
        f"y[{':, ' * axis}4:10]": 0.0,
        f"y[{':, ' * axis}0:4]": pytest.approx(100, abs=60),
    }


def test_channels_that_are_not_neighbours_are_counted() -> None:
    exact = boxes_and_scores(2)[..., [4, 0, 5, 1, 2, 3, 6, 7, 8, 9]]
    assert [part.name for part in parts_of(["y"], [{"y": exact}])] == ["y[:, :, 0…, 6 channels]", "y[:, :, 1…, 4 channels]"]


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(0.001, 1, 12).reshape(1, 3, 4) * [[[1, 1, 1, 0.01]]],  # probabilities, one class hardly seen
        np.linspace(1, 9, 12).reshape(1, 3, 4),  # of one size
        np.linspace(1, 9, 12).reshape(1, 3, 4) * [[[1, 1, 1, 1e-4]]],  # a class that no sample shows
        np.linspace(1, 9, 12).reshape(1, 3, 4) * [[[1, 1, 1, 0]]],
        np.linspace(1, 9, 4) * [1, 1, 1, 0.01],  # samples
        np.arange(12).reshape(1, 3, 4),  # integers are not rounded
        np.full((1, 3, 4), np.inf),
        np.zeros((1, 0, 4)),
        np.float64(3.0),
    ],
)
def test_outputs_of_one_size_are_one_part(values: np.ndarray) -> None:
    values = np.asarray(values)
    values = values.astype(np.float32) if values.dtype.kind == "f" else values
    assert parts_of(["y"], [{"y": values}]) == [Part("y")]


def test_axes_of_changing_length_have_no_channels() -> None:
    exact = boxes_and_scores(1)
    assert parts_of(["y"], [{"y": exact}, {"y": exact[:, :8]}]) == [Part("y")]
    assert len(parts_of(["y"], [{"y": exact}, {"y": exact[:, :, :8]}])) == 2


def test_infinities_tell_nothing_of_a_channels_size() -> None:
    exact = boxes_and_scores(2)
    exact[0, 0, 5] = -np.inf
    assert [part.channels for part in parts_of(["y"], [{"y": exact}])] == [(4, 5, 6, 7, 8, 9), (0, 1, 2, 3)]


@pytest.mark.parametrize("longer", [0, 1])
def test_what_one_of_two_outputs_lacks_counts_as_zero(longer: int) -> None:
    values = [np.full((1, 2), 3.0), np.array([[3.0, 3.0], [1.0, 0.0]])]
    noise = PartsNoise([Part("y")])
    noise.add({"y": values[longer]}, {"y": values[1 - longer]})
    assert noise.db[Part("y")] == pytest.approx(10 * np.log10(19 if longer else 18))
