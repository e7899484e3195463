"""Signal and noise, summed over batches."""

import numpy as np
import pytest

from edgeopt.quantize.sqnr import CEILING_DB, Noise, sqnr_db


def test_batches_add_up_to_one_ratio():
    generator = np.random.default_rng(0)
    exact = generator.standard_normal((6, 50))
    rounded = exact + 0.01 * generator.standard_normal((6, 50))
    parts, whole = Noise(), Noise()
    for x, y in zip(exact, rounded, strict=True):
        parts.add(x, y)
    whole.add(exact, rounded)
    plain = 10 * np.log10((exact**2).sum() / ((exact - rounded) ** 2).sum())
    assert parts.db == pytest.approx(plain, abs=1e-9) == whole.db


@pytest.mark.parametrize(
    ("exact", "rounded", "db"),
    [
        ([1.0, 2.0], [1.0, 2.0], CEILING_DB),
        ([0.0, 0.0], [0.1, 0.0], -CEILING_DB),
        ([1.0, 2.0], [1.0, np.nan], -CEILING_DB),
        ([1.0, 2.0], [np.inf, 2.0], -CEILING_DB),
        ([-np.inf, 2.0], [-np.inf, 2.0], CEILING_DB),
        ([np.nan, 3.0], [0.0, 2.0], 20 * np.log10(3)),
    ],
)
def test_infinities_of_the_exact_values_count_for_nothing_and_lost_values_for_everything(exact, rounded, db):
    noise = Noise()
    noise.add(np.array(exact), np.array(rounded))
    assert noise.db == pytest.approx(db)


def test_the_ratio_is_bounded():
    assert sqnr_db(1.0, 1e-40) == CEILING_DB
    assert sqnr_db(1e-40, 1.0) == -CEILING_DB
    assert sqnr_db(100.0, 1.0) == 20.0
