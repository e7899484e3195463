"""The shared buffer: a hand-made decoder with one GroupQueryAttention, compared with attention in plain numpy."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from edgeopt.generate.engine.arrays import Array
from edgeopt.generate.engine.description import Description, Names
from edgeopt.generate.engine.errors import PromptError
from edgeopt.generate.engine.loop import Loop
from edgeopt.generate.engine.sampling import Sampling
from edgeopt.generate.engine.session import check_inputs, open_session
from edgeopt.generate.engine.shared_cache import SharedCache, aligned_zeros
from edgeopt.generate.engine.stream import Stream

VOCABULARY, HEADS, SIZE = 20, 2, 16
WIDTH = HEADS * SIZE
CACHE = {
    "past_key": "past_key_%d",
    "past_value": "past_value_%d",
    "present_key": "present_key_%d",
    "present_value": "present_value_%d",
}
GRAPH = """
<ir_version: 10, opset_import: ["" : 20, "com.microsoft" : 1]>
decoder (int64[b, s] input_ids, int64[b, t] attention_mask, float[b, 2, p, 16] past_key_0,
         float[b, 2, p, 16] past_value_0)
     => (float[b, n, 20] logits, float[b, 2, q, 16] present_key_0, float[b, 2, q, 16] present_value_0)
<int64[1] axis = {1}, int64[1] one = {1}, int64 second = {1}, int64[1] last = {-1}>
{
  query = Gather(wq, input_ids)
  key = Gather(wk, input_ids)
  value = Gather(wv, input_ids)
  sums = ReduceSum<keepdims = 0>(attention_mask, axis)
  before = Sub(sums, one)
  seqlens = Cast<to = 6>(before)
  shape = Shape(attention_mask)
  width = Gather(shape, second)
  total = Cast<to = 6>(width)
  mixed, present_key_0, present_value_0 = com.microsoft.GroupQueryAttention<num_heads = 2, kv_num_heads = 2>
     (query, key, value, past_key_0, past_value_0, seqlens, total)
  asked = Gather<axis = 1>(mixed, logits_positions)
  logits = MatMul(asked, head)
}
"""


@pytest.fixture(scope="module")
def weights() -> dict[str, Array]:
    random = np.random.default_rng(0)
    shapes = dict.fromkeys(("wq", "wk", "wv"), (VOCABULARY, WIDTH)) | {"head": (WIDTH, VOCABULARY)}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def described(weights: dict[str, Array], tmp_path_factory: pytest.TempPathFactory) -> Description:
    model = parser.parse_model(GRAPH)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in weights.items())
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), "logits_positions"))
    model.graph.input.append(onnx.helper.make_tensor_value_info("logits_positions", onnx.TensorProto.INT64, ["n"]))
    path = tmp_path_factory.mktemp("gqa") / "model.onnx"
    onnx.save(model, path)
    names = Names(asked="logits_positions", positions=None, **CACHE)
    return Description(path, "decoder-cpu", 1, HEADS, SIZE, 300, VOCABULARY, "float32", True, (), None, names)


@pytest.fixture
def cache(described: Description) -> SharedCache:
    session = open_session(described.model)
    return SharedCache(session, check_inputs(session, described), rows=4, capacity=16)


def plain(weights: dict[str, Array], tokens: list[int]) -> Array:
    """Return the logits after each of `tokens`."""
    q, k, v = (weights[name][tokens].reshape(len(tokens), HEADS, SIZE) for name in ("wq", "wk", "wv"))
    scores = np.einsum("shd,thd->hst", q, k) / np.sqrt(SIZE)
    scores[:, np.triu(np.ones((len(tokens), len(tokens)), bool), 1)] = -np.inf
    share = np.exp(scores - scores.max(-1, keepdims=True))
    share /= share.sum(-1, keepdims=True)
    return np.einsum("hst,thd->shd", share, v).reshape(len(tokens), WIDTH) @ weights["head"]


def near(have: Array, want: Array) -> bool:
    error = float(np.abs(have - want).max())
    assert error < 1e-4, f"largest error {error:.2e}"
    return True


def test_a_prompt_in_parts_and_logits_where_asked(cache: SharedCache, weights: dict[str, Array]) -> None:
    tokens = [3, 1, 4, 1, 5, 9, 2, 6]
    assert near(cache.extend(1, tokens[:5], want=2), plain(weights, tokens)[3:5])
    assert near(cache.extend(1, tokens[5:], want=3), plain(weights, tokens)[5:])
    assert cache.lengths == [0, 8, 0, 0]


def test_ragged_rows_step_together(cache: SharedCache, weights: dict[str, Array]) -> None:
    texts = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10]]
    for row, text in enumerate(texts):
        cache.extend(row, text)
    for new in ([11, 12, 13], [14, 15, 16]):
        logits = cache.step(new).copy()
        for row, text in enumerate(texts):
            text.append(new[row])
            assert near(logits[row], plain(weights, text)[-1])
    logits = cache.step([17, 18])  # one row fewer
    assert near(logits[1], plain(weights, [*texts[1], 18])[-1])
    assert cache.lengths == [6, 4, 8, 0]


def test_rewinding_swapping_and_copying(cache: SharedCache, weights: dict[str, Array]) -> None:
    cache.extend(0, [1, 2, 3, 4, 5])
    cache.extend(1, [6, 7])
    cache.rewind(0, 2)
    assert near(cache.extend(0, [9])[0], plain(weights, [1, 2, 9])[-1])
    cache.swap(0, 1)
    assert cache.lengths[:2] == [2, 3]
    cache.copy(1, 2, 2)
    logits = cache.step([8, 8, 8])
    for row, text in enumerate(([6, 7, 8], [1, 2, 9, 8], [1, 2, 8])):
        assert near(logits[row], plain(weights, text)[-1])


def test_the_buffer_grows_and_keeps_what_it_holds(cache: SharedCache, weights: dict[str, Array]) -> None:
    text = [index * 7 % VOCABULARY for index in range(200)]
    assert near(cache.extend(0, text[:60])[0], plain(weights, text[:60])[-1])
    before = cache.capacity
    assert near(cache.extend(0, text[60:])[0], plain(weights, text)[-1])
    assert cache.capacity > before
    with pytest.raises(PromptError, match="301 tokens: the model's context is 300"):
        cache.extend(0, [1] * 101)


def test_a_graph_with_the_last_logits_only_still_gives_all(weights: dict[str, Array], described: Description) -> None:
    session = open_session(described.model)
    names = Names(asked=None, positions=None, **CACHE)
    blind = SharedCache(session, Description(**{**vars(check_inputs(session, described)), "names": names}))
    tokens = [3, 1, 4, 1, 5]
    assert near(blind.extend(0, tokens, want=3), plain(weights, tokens)[2:])
    assert near(blind.extend(0, [9, 2], want=2), plain(weights, [*tokens, 9, 2])[5:])


def test_streams_that_come_and_go_are_not_mixed(described: Description) -> None:
    session = open_session(described.model)
    checked = check_inputs(session, described)
    random = np.random.default_rng(1)
    prompts = [random.integers(0, VOCABULARY, random.integers(1, 40)).tolist() for _ in range(40)]
    options = [Sampling(max_tokens=int(random.integers(1, 30)), repetition_penalty=1.3) for _ in prompts]

    def run(rows: int, requests: list[Stream]) -> list[tuple[int, ...]]:
        loop, waiting = Loop(SharedCache(session, checked, rows=rows), context=300), list(requests)
        while waiting or loop.running:
            while waiting and loop.free:
                loop.add(waiting.pop(0))
            loop.step()
        return [stream.answer().tokens for stream in requests]

    def requests() -> list[Stream]:
        return [Stream(list(prompt), option, None) for prompt, option in zip(prompts, options, strict=True)]

    alone = [run(1, [request])[0] for request in requests()]
    assert run(5, requests()) == alone
    assert run(1, requests()) == alone


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_buffers_begin_at_a_line_of_the_cache(kind):
    made = aligned_zeros((3, 5, 7), kind)
    assert made.ctypes.data % 64 == 0
    assert (made.shape, made.dtype, made.any()) == ((3, 5, 7), kind, False)
    assert made.flags.c_contiguous
    assert made.flags.writeable
