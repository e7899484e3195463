import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from edgeopt.graph.files import as_ir
from edgeopt.quantize.apply import embedding
from edgeopt.quantize.apply.embedding import round_rows

TEXT = """
<ir_version: 10, opset_import: ["" : 21]>
g (int64[n, s] ids) => (float[n, s, 64] y) { e = Gather (t, ids) y = Add (e, e) }
"""


def table(rows: int = 300) -> np.ndarray:
    generator = np.random.default_rng(0)
    return (generator.standard_normal((rows, 64)) * 10.0 ** generator.uniform(-3, 3, (rows, 1))).astype(np.float32)


def model(values: np.ndarray, text: str = TEXT) -> onnx.ModelProto:
    parsed = onnx.parser.parse_model(text)
    parsed.graph.initializer.append(onnx.numpy_helper.from_array(values, "t"))
    return parsed


def shrink_embeddings(model: onnx.ModelProto) -> int:
    loaded = as_ir(model)
    count = embedding.shrink_embeddings(loaded)
    model.CopyFrom(ir.to_proto(loaded))
    return count


def test_each_row_is_rounded_to_its_own_scale():
    values = table()
    values[7] = 0
    rows, scales = round_rows(values)
    assert (np.abs(rows * scales - values) <= scales / 2 * 1.0001).all()


def test_the_model_stays_valid_and_close_and_shrinks():
    before = model(table())
    after = onnx.ModelProto()
    after.CopyFrom(before)
    assert shrink_embeddings(after) == 1
    onnx.checker.check_model(after, full_check=True)
    assert after.ByteSize() < before.ByteSize() * 0.3
    ids = {"ids": np.arange(300).reshape(3, 100)}
    expected, got = (
        ort.InferenceSession(item.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, ids)[0]
        for item in (before, after)
    )
    largest = np.abs(expected).max(axis=-1)
    assert (np.abs(got - expected).max(axis=-1) <= largest / 250).all()


def test_small_tables_and_tables_with_other_readers_are_left_alone():
    assert shrink_embeddings(model(table(20))) == 0
    tied = TEXT.replace("y = Add (e, e)", "tt = Transpose (t) z = MatMul (e, tt) y = Add (e, e)")
    assert shrink_embeddings(model(table(), tied)) == 0
