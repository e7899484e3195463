"""Models: PyTorch models loaded and saved without pickles, and ONNX files read with clear errors."""
