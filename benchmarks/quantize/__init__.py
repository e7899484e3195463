"""edgeopt's quantization beside its peers', on real models and data: ``python -m benchmarks.quantize --help``."""
