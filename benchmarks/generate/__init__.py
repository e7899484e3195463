"""Language models beside other runtimes: speed, peak memory, file size (``python -m benchmarks.generate --help``)."""
