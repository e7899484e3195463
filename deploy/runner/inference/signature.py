"""The signature of a bundle: OpenSSF Model Signing, version 1.0 (github.com/sigstore/model-transparency), with ECDSA keys.

`model.sig` is a Sigstore bundle: a DSSE envelope around an in-toto statement that lists the SHA-256 of every file. Checked:
the key's hash is that of the trusted key, the signature over the pre-authentication encoding is the key's, the subject's digest
is that of the resources, and the resources are the files of the folder, but for those that the signed statement ignores. Needs
the package cryptography.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Any, Dict, List, Mapping

FILE = "model.sig"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://model_signing/signature/v1.0"
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MANIFEST = "bundle.json"
"""Never ignored: it has the hashes of all other files of a bundle."""
_LIMIT_BYTES = 64 << 20


class SignatureFault(Exception):  # noqa: N818  (what is wrong with a signature; not an error of this program)
    """The signature does not vouch for the files."""


class WrongKey(SignatureFault):
    """Another key made the signature."""


class NoKey(SignatureFault):
    """What is trusted is no key that a signature could be checked with."""


def encoded(payload: bytes) -> bytes:
    """Return what is signed: DSSE's pre-authentication encoding of the payload."""
    return b" ".join([b"DSSEv1", str(len(PAYLOAD_TYPE)).encode(), PAYLOAD_TYPE.encode(), str(len(payload)).encode(), payload])


def statement(name: str, digests: Mapping[str, str]) -> Dict[str, Any]:
    """Return the in-toto statement about the files with these SHA-256 digests, by path."""
    resources = [{"name": path, "algorithm": "sha256", "digest": digests[path]} for path in sorted(digests)]
    options = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": [FILE]}
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": root_digest(resources)}}],
        "predicateType": PREDICATE,
        "predicate": {"serialization": options, "resources": resources},
    }


def root_digest(resources: List[Dict[str, Any]]) -> str:
    """Return the SHA-256 over the digests of all resources, in their order."""
    digest = hashlib.sha256()
    for resource in resources:
        digest.update(bytes.fromhex(resource["digest"]))
    return digest.hexdigest()


def key_hash(public_key: Any) -> str:
    """Return the SHA-256 of a public key's PEM, which a signature carries as the hint of its key."""
    from cryptography.hazmat.primitives import serialization

    form = serialization.PublicFormat.SubjectPublicKeyInfo
    content: bytes = public_key.public_bytes(serialization.Encoding.PEM, form)
    return hashlib.sha256(content).hexdigest()


def hash_of(public_key: Any) -> Any:
    """Return the hash algorithm that goes with the curve of a key."""
    from cryptography.hazmat.primitives import hashes

    sizes = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
    size = getattr(getattr(public_key, "curve", None), "key_size", 0)
    if size not in sizes:
        raise SignatureFault("the key is not ECDSA on P-256, P-384 or P-521")
    return sizes[size]


def load_public_key(pem: bytes) -> Any:
    """Return the public key in a PEM file's bytes.

    Raises:
        NoKey: it is none that is supported.
    """
    from cryptography.hazmat.primitives import serialization

    try:
        key = serialization.load_pem_public_key(pem)
        hash_of(key)
    except SignatureFault as error:
        raise NoKey(str(error)) from error
    except Exception as error:
        raise NoKey("not a public key in PEM") from error
    return key


def check(content: bytes, pem: bytes, digests: Mapping[str, str]) -> str:
    """Check the signature in `content` of files with these SHA-256 digests, by path; return the signed name.

    Args:
        content: bytes of model.sig.
        pem: the trusted public key.
        digests: of every file of the bundle but model.sig.

    Raises:
        NoKey: `pem` is no public key that is supported.
        WrongKey: another key made the signature.
        SignatureFault: the signature is not valid, or is not of these files.
    """
    from cryptography import exceptions
    from cryptography.hazmat.primitives.asymmetric import ec

    key = load_public_key(pem)
    envelope, hint = _envelope(content)
    if hint is not None and hint != key_hash(key):
        raise WrongKey(f"another key signed it: its SHA-256 is {hint[:16]}…, the trusted one's {key_hash(key)[:16]}…")
    payload, signature = envelope
    try:
        key.verify(signature, encoded(payload), ec.ECDSA(hash_of(key)))
    except exceptions.InvalidSignature as error:
        raise SignatureFault("the signature is not the trusted key's over what it lists") from error
    name: str
    name, resources, ignored = _resources(payload)
    recorded = {resource["name"]: resource["digest"] for resource in resources}
    present = {path for path in digests if path == MANIFEST or not _below(path, ignored)}
    for path in sorted(set(recorded) | present):
        if recorded.get(path) != digests.get(path):
            how = (
                "is not signed" if path not in recorded else "is signed and missing" if path not in digests else "changed since"
            )
            raise SignatureFault(f"{path} {how}")
    return name


def _below(path: str, ignored: List[str]) -> bool:
    """Whether a path is one of those that the signer left out, or lies in one of them."""
    return any(path == left_out or path.startswith(left_out.rstrip("/") + "/") for left_out in ignored)


def _envelope(content: bytes) -> Any:
    try:
        if len(content) > _LIMIT_BYTES:
            raise SignatureFault(f"{FILE}: larger than {_LIMIT_BYTES} bytes")
        values = json.loads(content.decode("utf-8"))
        if values["mediaType"] != MEDIA_TYPE:
            raise SignatureFault(f"{FILE}: of the type {str(values['mediaType'])[:80]}; {MEDIA_TYPE} is read here")
        envelope, material = values["dsseEnvelope"], values["verificationMaterial"]
        if not isinstance(material.get("publicKey"), dict):
            raise SignatureFault(f"{FILE}: made with a certificate or by Sigstore; signatures of a key are read here")
        signatures = envelope["signatures"]
        if envelope["payloadType"] != PAYLOAD_TYPE or len(signatures) != 1:
            raise SignatureFault(f"{FILE}: not one signature over an in-toto statement")
        payload = base64.b64decode(envelope["payload"], validate=True)
        signature = base64.b64decode(signatures[0]["sig"], validate=True)
        hint = material["publicKey"].get("hint")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise SignatureFault(f"{FILE}: not a signature that can be read: {' '.join(str(error).split())[:120]}") from error
    if hint is not None and not isinstance(hint, str):
        raise SignatureFault(f"{FILE}: the hint of the key is no text")
    return (payload, signature), hint


def _resources(payload: bytes) -> Any:
    try:
        values = json.loads(payload.decode("utf-8"))
        if values["_type"] != STATEMENT or values["predicateType"] != PREDICATE:
            raise SignatureFault(f"{FILE}: not a statement of OpenSSF Model Signing 1.0")
        method = values["predicate"]["serialization"]["method"]
        if method != "files":
            raise SignatureFault(f"{FILE}: signed by {method}; files are read here")
        (subject,), resources = values["subject"], values["predicate"]["resources"]
        if any(resource["algorithm"] != "sha256" for resource in resources):
            raise SignatureFault(f"{FILE}: signed by another hash than SHA-256")
        if len({resource["name"] for resource in resources}) != len(resources):
            raise SignatureFault(f"{FILE}: lists a file twice")
        expected = subject["digest"]["sha256"]
        if expected != root_digest(resources):
            raise SignatureFault(f"{FILE}: the digest of its subject is not that of its resources")
        ignored = values["predicate"]["serialization"].get("ignore_paths", [])
        if not isinstance(ignored, list) or not all(isinstance(path, str) for path in ignored):
            raise SignatureFault(f"{FILE}: the paths that it ignores are no list of texts")
        return str(subject["name"]), resources, ignored
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SignatureFault(f"{FILE}: not a statement that can be read: {' '.join(str(error).split())[:120]}") from error
