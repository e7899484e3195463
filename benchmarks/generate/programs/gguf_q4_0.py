"""SOURCE.gguf OUTPUT.gguf: the same model with its matrices in Q4_0, llama.cpp's fast format, and the embedding in Q8_0."""

import sys

import gguf
import numpy as np
from gguf import quants

source, output = sys.argv[1:3]
reader = gguf.GGUFReader(source)
writer = gguf.GGUFWriter(output, reader.fields["general.architecture"].contents())
for name, found in reader.fields.items():
    if not name.startswith("GGUF.") and name not in {"general.architecture", "general.file_type"}:
        inner = found.types[-1] if found.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, found.contents(), found.types[0], sub_type=inner)
writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
for tensor in reader.tensors:
    values = quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
    if values.ndim == 1:
        writer.add_tensor(tensor.name, values)
        continue
    whole = tensor.name.startswith(("token_embd", "output"))
    kind = gguf.GGMLQuantizationType.Q8_0 if whole else gguf.GGMLQuantizationType.Q4_0
    writer.add_tensor(tensor.name, quants.quantize(values, kind), raw_dtype=kind)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
