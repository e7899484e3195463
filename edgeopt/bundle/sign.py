"""Sign a bundle in the format of OpenSSF Model Signing; ``deploy/runner/inference/signature.py`` checks it on the device."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from edgeopt import files
from edgeopt.device_code import inference
from edgeopt.documents import read_bytes
from edgeopt.errors import RecipeError
from edgeopt.extras import need


def sign_bundle(folder: Path, key: Path, *, name: str) -> None:
    """Write ``model.sig`` into the bundle in `folder`, signed with the private key (PEM, ECDSA) in the file `key`.

    Raises:
        RecipeError: the key cannot be read, or is of another kind.
        MachineError: the package cryptography is not installed.
    """
    need("cryptography", purpose="signing")
    from cryptography.hazmat.primitives.asymmetric import ec

    code = inference("signature")
    private: Any = load_private_key(key)
    digests = {
        path.relative_to(folder).as_posix(): files.sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).as_posix() != code.FILE
    }
    payload = json.dumps(code.statement(name, digests), indent=2, sort_keys=True).encode()
    signature = private.sign(code.encoded(payload), ec.ECDSA(code.hash_of(private.public_key())))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": code.PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
    }
    values = {
        "mediaType": code.MEDIA_TYPE,
        "verificationMaterial": {"publicKey": {"hint": code.key_hash(private.public_key())}, "tlogEntries": []},
        "dsseEnvelope": envelope,
    }
    (folder / code.FILE).write_text(json.dumps(values), encoding="utf-8")


def load_private_key(key: Path) -> Any:
    """Return the private key in a PEM file, of a kind that signs bundles.

    Raises:
        RecipeError: it is none.
    """
    need("cryptography", purpose="signing")
    from cryptography.hazmat.primitives import serialization

    try:
        private: Any = serialization.load_pem_private_key(read_bytes(key, error=RecipeError, what="a private key"), None)
        inference("signature").hash_of(private.public_key())
    except RecipeError:
        raise
    except Exception as error:  # (what it raises differs by version)
        advice = "openssl ecparam -name prime256v1 -genkey -noout -out KEY"
        raise RecipeError(
            f"{key}: not a private key in PEM for ECDSA without a password: {error}; make one: {advice}"
        ) from error
    return private
