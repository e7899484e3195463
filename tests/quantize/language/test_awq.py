from __future__ import annotations

import numpy as np

from edgeopt.quantize.language.awq import scale_inputs
from edgeopt.quantize.language.layers import find_layers
from edgeopt.quantize.language.moments import input_moments
from edgeopt.quantize.language.text import Reader


def test_scaled_inputs_are_the_same_function(decoder, windows):
    model, facts = decoder
    moments = input_moments(model, facts, windows[:2], threads=1)
    for name in list(moments):  # a few inputs much larger than the others: what scaling is for
        size = np.ones(len(moments[name]))
        size[:3] = 30
        moments[name] = moments[name] * np.outer(size, size)
    scaled = scale_inputs(model, moments, block=32)
    tokens = windows[0]
    np.testing.assert_allclose(Reader(scaled, facts)(tokens), Reader(model, facts)(tokens), atol=1e-3)
    before = {layer.name: layer.weight() for layer in find_layers(model)}
    after = {layer.name: layer.weight() for layer in find_layers(scaled)}
    assert any(not np.array_equal(before[name], after[name]) for name in before)
