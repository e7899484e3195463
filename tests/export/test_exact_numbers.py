from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
import torch

from edgeopt.export import export


class Guarded(torch.nn.Module):
    def __init__(self, work):
        super().__init__()
        self.work = work

    def forward(self, x):
        return self.work(x)


WORK = {
    "added": lambda x: x / (x.abs() + 1e-9),
    "added to the guarded side": lambda x: torch.log(1e-12 + x.abs()),
    "taken away": lambda x: 1 / (x.abs() - 1e-10),
    "a factor near one": lambda x: (x * 1.000003 - x) * 1e5,
}


@pytest.mark.parametrize("name", WORK)
def test_numbers_near_zero_and_one_stay_in_the_file(tmp_path, target, name):
    samples = [{"x": np.array([[1.0, 2, 3]], np.float32)}]
    result = export(Guarded(WORK[name]), samples, target=target, output=tmp_path)
    x = np.array([[0, 1e-9, 5]], np.float32)
    (found,) = ort.InferenceSession(result.path).run(None, {"x": x})
    np.testing.assert_allclose(found, WORK[name](torch.from_numpy(x)).numpy(), rtol=1e-4)


def test_what_really_adds_nothing_goes(tmp_path, target):
    result = export(
        Guarded(lambda x: (x + 0.0) * 1.0 + 2), [{"x": np.ones((1, 3), np.float32)}], target=target, output=tmp_path
    )
    assert result.op_counts == {"Add": 1}
