"""Bundle: what is shipped to the device, which verifies itself there.

    result = write_bundle(BundleSpec(model=Path("int8.onnx"), name="digits", task="image-classification",
                                     target="x86-vnni", golden=batches, labels=("0", "1", …)), output=Path("bundle"))
    report = verify_bundle(Path("bundle"))

`docs/reference/bundle.md` describes the folder; ``deploy/runner/verify.py`` is what checks it, here and on the device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeopt._lazy import offer

if TYPE_CHECKING:
    from edgeopt.bundle.result import BundleFile, BundleResult
    from edgeopt.bundle.spec import BundleSpec, Tolerance
    from edgeopt.bundle.verify import VerifyReport, verify_bundle
    from edgeopt.bundle.write import write_bundle
    from edgeopt.data.preprocessing import (
        ArrayInput,
        AudioInput,
        ImageInput,
        Preprocessing,
        TokenizerInput,
        read_preprocessing,
    )

__all__ = [
    "ArrayInput",
    "AudioInput",
    "BundleFile",
    "BundleResult",
    "BundleSpec",
    "ImageInput",
    "Preprocessing",
    "TokenizerInput",
    "Tolerance",
    "VerifyReport",
    "read_preprocessing",
    "verify_bundle",
    "write_bundle",
]

if not TYPE_CHECKING:
    __getattr__ = offer(
        __name__,
        {
            "ArrayInput": "edgeopt.data.preprocessing",
            "AudioInput": "edgeopt.data.preprocessing",
            "BundleFile": "result",
            "BundleResult": "result",
            "BundleSpec": "spec",
            "ImageInput": "edgeopt.data.preprocessing",
            "Preprocessing": "edgeopt.data.preprocessing",
            "TokenizerInput": "edgeopt.data.preprocessing",
            "Tolerance": "spec",
            "VerifyReport": "verify",
            "read_preprocessing": "edgeopt.data.preprocessing",
            "verify_bundle": "verify",
            "write_bundle": "write",
        },
    )
