"""From raw data to a named answer, with numpy alone: preprocessing and decoding as a bundle's bundle.json describes them.

Python 3.9 or later and numpy; onnxruntime where a model runs; Pillow for images other than .npy; tokenizers for texts that are
not BERT's. The engine, verify.py on the device and the Python templates use these same files; the JavaScript and C++
templates follow them.
"""


class MissingPackageError(ValueError):
    """A package that reads this kind of raw data is not installed here; the message says how to install it."""
