"""Cases of the OpenSSF Model Signing specification with keys: signed by the reference and checked here, and the other way.

A case is a folder, what is done to it or to its signature afterwards, and what both implementations must say.
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from edgeopt.bundle.sign import sign_bundle
from edgeopt.bundle.verify import device_verify
from edgeopt.device_code import inference

CODE = inference("signature")
SIG = CODE.FILE
CURVES = {256: ec.SECP256R1(), 384: ec.SECP384R1(), 521: ec.SECP521R1()}
LAYOUTS: dict[str, dict[str, bytes]] = {
    "two files": {"one": b"1", "two": b"22"},
    "one file": {"model.bin": b"weights"},
    "nested": {"weights.bin": b"w", "config.json": b"{}", "sub/adapter.bin": b"a", "sub-1": b"s", "sub/deep/x": b"x"},
    "an empty file": {"empty": b"", "full": b"f"},
    "binary content": {"weights": bytes(range(256)) * 9},
    "dot files and hidden folders": {".settings": b"s", ".cache/blob": b"b", "model": b"m"},
    "other scripts and signs": {"modèle-模型.bin": b"m", "a b+c (1).bin": b"x", "ü/ß": b"y"},
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a private and a public key on each curve, and those of another signer."""
    folder = tmp_path_factory.mktemp("keys")
    for name, curve in [*((str(size), curve) for size, curve in CURVES.items()), ("theirs", CURVES[256])]:
        private = ec.generate_private_key(curve)
        pem, no = serialization.Encoding.PEM, serialization.NoEncryption()
        (folder / f"{name}.key").write_bytes(private.private_bytes(pem, serialization.PrivateFormat.PKCS8, no))
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        (folder / f"{name}.pub").write_bytes(private.public_key().public_bytes(pem, form))
    return folder


def written(folder: Path, layout: str) -> Path:
    for name, content in LAYOUTS[layout].items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def said(folder: Path, key: Path) -> tuple[str, str, int]:
    """Return status, detail and exit status of the check on the device."""
    (check,) = device_verify().check_signature(str(folder), str(key))
    return check.status, check.detail, check.exit_status


def sign_there(folder: Path, key: Path, ignored: tuple[str, ...] = ()) -> None:
    signing = pytest.importorskip("model_signing.signing")
    hashing = pytest.importorskip("model_signing.hashing")
    paths = [folder / SIG, *(folder / name for name in ignored)]
    config = hashing.Config().set_ignored_paths(paths=paths, ignore_git_paths=True)
    signing.Config().use_elliptic_key_signer(private_key=key).set_hashing_config(config).sign(folder, folder / SIG)


def check_there(folder: Path, key: Path) -> None:
    verifying = pytest.importorskip("model_signing.verifying")
    verifying.Config().use_elliptic_key_verifier(public_key=key).verify(folder, folder / SIG)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_the_reference_signs_is_accepted_and_what_is_signed_here_is_accepted_there(
    layout: str, keys: Path, tmp_path: Path
) -> None:
    theirs, ours = written(tmp_path / "theirs", layout), written(tmp_path / "ours", layout)
    sign_there(theirs, keys / "256.key")
    assert said(theirs, keys / "256.pub")[0] == "passed"
    sign_bundle(ours, keys / "256.key", name="ours")
    check_there(ours, keys / "256.pub")
    statements = [
        json.loads(base64.b64decode(json.loads((folder / SIG).read_text("utf-8"))["dsseEnvelope"]["payload"]))
        for folder in (theirs, ours)
    ]
    resources, again = [statement["predicate"]["resources"] for statement in statements]
    assert {entry["name"]: entry["digest"] for entry in resources} == {entry["name"]: entry["digest"] for entry in again}
    assert [entry["name"] for entry in again] == sorted(LAYOUTS[layout])


@pytest.mark.parametrize("size", CURVES)
def test_every_curve_both_ways(size: int, keys: Path, tmp_path: Path) -> None:
    folder = written(tmp_path / "m", "two files")
    sign_there(folder, keys / f"{size}.key")
    assert said(folder, keys / f"{size}.pub")[0] == "passed"
    sign_bundle(folder, keys / f"{size}.key", name="m")
    check_there(folder, keys / f"{size}.pub")


def test_paths_that_the_signer_ignores_may_be_there_and_may_change(keys: Path, tmp_path: Path) -> None:
    folder = written(tmp_path / "m", "nested")
    (folder / ".gitignore").write_text("x", encoding="utf-8")
    sign_there(folder, keys / "256.key", ignored=("sub",))
    (folder / "sub" / "adapter.bin").write_bytes(b"changed")
    assert said(folder, keys / "256.pub")[0] == "passed"
    (folder / "sub-1").write_bytes(b"changed")  # begins as the ignored folder does
    assert said(folder, keys / "256.pub")[1] == "sub-1 changed since"


def test_a_bundle_s_manifest_is_never_ignored(keys: Path, tmp_path: Path) -> None:
    folder = written(tmp_path / "m", "two files")
    (folder / "bundle.json").write_text("{}", encoding="utf-8")
    sign_there(folder, keys / "256.key", ignored=("bundle.json",))
    assert said(folder, keys / "256.pub") == ("failed", "bundle.json is not signed", 7)


def resigned(change: Callable[[dict[str, Any]], None]) -> Callable[[Path, Path], None]:
    """Return a step that changes the statement and signs it again with the same key: what the signer itself did wrong."""

    def step(folder: Path, keys: Path) -> None:
        values = json.loads((folder / SIG).read_text(encoding="utf-8"))
        statement = json.loads(base64.b64decode(values["dsseEnvelope"]["payload"]))
        change(statement)
        payload = json.dumps(statement).encode()
        private: Any = serialization.load_pem_private_key((keys / "256.key").read_bytes(), None)
        signature = private.sign(CODE.encoded(payload), ec.ECDSA(CODE.hash_of(private.public_key())))
        values["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
        values["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(signature).decode()
        (folder / SIG).write_text(json.dumps(values), encoding="utf-8")

    return step


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path, Path], None]:
    """Return a step that changes the file of the signature outside of what is signed."""

    def step(folder: Path, keys: Path) -> None:
        values = json.loads((folder / SIG).read_text(encoding="utf-8"))
        change(values)
        (folder / SIG).write_text(json.dumps(values), encoding="utf-8")

    return step


def content(new: Callable[[bytes], bytes]) -> Callable[[Path, Path], None]:
    return lambda folder, keys: (folder / SIG).write_bytes(new((folder / SIG).read_bytes())) and None


def _predicate(statement: dict[str, Any]) -> None:
    statement["predicateType"] = "https://example.org/other"


def _twice(statement: dict[str, Any]) -> None:
    resources = statement["predicate"]["resources"]
    resources.append(resources[0])
    statement["subject"][0]["digest"]["sha256"] = CODE.root_digest(resources)


FAILING: dict[str, tuple[Callable[[Path, Path], object], str, int]] = {
    "content changed": (lambda folder, _: (folder / "one").write_bytes(b"2"), "one changed since", 7),
    "a file is missing": (lambda folder, _: (folder / "two").unlink(), "two is signed and missing", 7),
    "a file is extra": (lambda folder, _: (folder / "injected.bin").write_bytes(b"x"), "injected.bin is not signed", 7),
    "another key": (lambda folder, keys: sign_bundle(folder, keys / "theirs.key", name="m"), "another key signed it", 8),
    "no signature file": (lambda folder, _: (folder / SIG).unlink(), "the bundle is unsigned, and a key is trusted", 9),
    "an empty file": (content(lambda _: b""), "not a signature that can be read", 7),
    "no JSON": (content(lambda text: text[:50] + b"\x00\xff" + text[50:]), "not a signature that can be read", 7),
    "truncated": (content(lambda text: text[:100]), "not a signature that can be read", 7),
    "no envelope": (edited(lambda values: values.pop("dsseEnvelope")), "not a signature that can be read: 'dsseEnvelope'", 7),
    "no signature in it": (edited(lambda values: values["dsseEnvelope"]["signatures"].clear()), "not one signature", 7),
    "another media type": (
        edited(lambda values: values.update(mediaType="application/vnd.dev.sigstore.bundle.v0.1+json")),
        "of the type application/vnd.dev.sigstore.bundle.v0.1+json",
        7,
    ),
    "a certificate's": (
        edited(lambda values: values.update(verificationMaterial={"x509CertificateChain": {"certificates": []}})),
        "made with a certificate or by Sigstore",
        7,
    ),
    "another predicate": (resigned(_predicate), "not a statement of OpenSSF Model Signing 1.0", 7),
    "another root digest": (
        resigned(lambda statement: statement["subject"][0]["digest"].update(sha256="0" * 64)),
        "the digest of its subject is not that of its resources",
        7,
    ),
    "a file twice": (resigned(_twice), "lists a file twice", 7),
    "shards": (
        resigned(lambda statement: statement["predicate"]["serialization"].update(method="shards")),
        "signed by shards; files are read here",
        7,
    ),
    "another hash": (
        resigned(lambda statement: statement["predicate"]["resources"][0].update(algorithm="blake2b")),
        "another hash than SHA-256",
        7,
    ),
    "ignored paths of another kind": (
        resigned(lambda statement: statement["predicate"]["serialization"].update(ignore_paths="one")),
        "no list of texts",
        7,
    ),
}


@pytest.mark.parametrize("case", FAILING)
def test_what_must_fail_fails_with_its_message_and_status(case: str, keys: Path, tmp_path: Path) -> None:
    folder = written(tmp_path / "m", "two files")
    sign_bundle(folder, keys / "256.key", name="m")
    assert said(folder, keys / "256.pub")[0] == "passed"
    step, detail, status = FAILING[case]
    step(folder, keys)
    found = said(folder, keys / "256.pub")
    assert (found[0], found[2]) == ("failed", status) and detail in found[1], found
    if case not in ("a file twice",):  # which the reference accepts
        with pytest.raises(Exception):  # noqa: B017  (its errors have no common base)
            check_there(folder, keys / "256.pub")


def test_older_material_without_a_hint_and_with_other_key_ids_is_accepted(keys: Path, tmp_path: Path) -> None:
    folder = written(tmp_path / "m", "two files")
    sign_there(folder, keys / "256.key")
    for key_id in (None, "", "any"):
        values = json.loads((folder / SIG).read_text(encoding="utf-8"))
        values["verificationMaterial"]["publicKey"] = {"rawBytes": "AAAA", "keyDetails": "PKIX_ECDSA_P256_SHA_256"}
        values["verificationMaterial"].pop("tlogEntries", None)
        values["dsseEnvelope"]["signatures"][0]["keyid"] = key_id
        (folder / SIG).write_text(json.dumps(values), encoding="utf-8")
        assert said(folder, keys / "256.pub")[0] == "passed"
    assert said(folder, keys / "theirs.pub")[2] == 7


def test_one_folder_gives_one_statement(keys: Path, tmp_path: Path) -> None:
    payloads = []
    for name in ("a", "b"):
        folder = written(tmp_path / name, "nested")
        shutil.copyfile(keys / "256.pub", folder / "key.pub")
        sign_bundle(folder, keys / "256.key", name="same")
        payloads.append(json.loads((folder / SIG).read_text(encoding="utf-8"))["dsseEnvelope"]["payload"])
    assert payloads[0] == payloads[1]
