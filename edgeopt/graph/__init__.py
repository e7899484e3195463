"""ONNX graphs: files, node index, inner tensors as outputs, shapes, requirements, multiply-accumulates."""
