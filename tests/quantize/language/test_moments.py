from __future__ import annotations

import numpy as np

from edgeopt.graph.outputs import open_exposed
from edgeopt.quantize.language.layers import find_layers
from edgeopt.quantize.language.moments import input_moments
from edgeopt.quantize.language.text import feeds


def test_moments_are_those_of_all_positions_in_the_last_layer_too(decoder, windows):
    model, facts = decoder
    found = input_moments(model, facts, windows[:2], threads=1)
    names = {layer.given.name for layer in find_layers(model)}
    assert set(found) == names
    last = find_layers(model)[-2].given.name
    session = open_exposed(model, [last], threads=1)
    rows = np.concatenate([session.run([last], feeds(facts, tokens[None]))[0][0] for tokens in windows[:2]])
    assert len(rows) == 64
    np.testing.assert_allclose(found[last], rows.T @ rows / 64, rtol=1e-3, atol=1e-4)
