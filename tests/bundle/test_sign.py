"""Signed bundles: the trusted key vouches for every file; each other case has its own answer and exit status."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeopt.bundle import verify_bundle, write_bundle
from edgeopt.bundle.verify import device_verify
from edgeopt.device_code import inference
from edgeopt.errors import RecipeError

CODE = inference("signature")


JSON = st.recursive(
    st.none() | st.text() | st.integers(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["dsseEnvelope", "payload", "signatures", "payloadType", "verificationMaterial", "sig"]), inner
        )
    ),
    max_leaves=8,
)


def reseal(folder: Path) -> None:
    """Make every hash of a changed bundle right, as a forger would."""
    code = device_verify()
    manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    for entry in manifest["files"]:
        entry["sha256"], entry["size_bytes"] = code.sha256(folder / entry["path"]), (folder / entry["path"]).stat().st_size
    if manifest.get("origins"):
        manifest["origins"][-1]["sha256"] = code.sha256(folder / "model.onnx")
        manifest["origins"] = inference("provenance").chained(manifest["origins"])
    (folder / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    (folder / "SHA256SUMS").write_text(code.sums_text(code.sha256(folder / "bundle.json"), manifest["files"]), encoding="utf-8")


def keys(folder: Path, name: str, curve: ec.EllipticCurve | None = None) -> tuple[Path, Path]:
    """Write a private and a public key, and return their files."""
    private = ec.generate_private_key(curve or ec.SECP256R1())
    secret, public = folder / f"{name}.key", folder / f"{name}.pub"
    no = serialization.NoEncryption()
    secret.write_bytes(private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(private.public_key().public_bytes(serialization.Encoding.PEM, form))
    return secret, public


@pytest.fixture
def signed(make_spec, tmp_path):
    secret, public = keys(tmp_path, "ours")
    write_bundle(make_spec(), output=tmp_path / "out", sign=secret)
    return tmp_path / "out", public


def statuses(folder: Path, public: Path) -> tuple[int, str]:
    """Return exit status and output of the bundle's own verify.py."""
    command = [sys.executable, str(folder / "verify.py"), "--trusted", str(public)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout + done.stderr


def test_the_trusted_key_vouches_for_all_files_here_and_on_the_device(signed):
    folder, public = signed
    report = verify_bundle(folder, trusted=public)
    assert report.passed
    found = next(check.detail for check in report.checks if check.name == "signature")
    assert "by the trusted key" in found
    assert statuses(folder, public)[0] == 0


def test_without_a_key_a_signed_bundle_says_that_nobody_checked_it(signed):
    report = verify_bundle(signed[0])
    assert report.passed
    assert any("signed, not checked" in check.detail for check in report.checks)


def test_another_key_is_told_from_changed_files(signed, tmp_path):
    folder, public = signed
    status, said = statuses(folder, keys(tmp_path, "theirs")[1])
    assert (status, "another key signed it" in said) == (8, True)
    (folder / "README.md").write_text("other words", encoding="utf-8")
    reseal(folder)
    status, said = statuses(folder, public)
    assert (status, "README.md changed since" in said) == (7, True)


def test_an_unsigned_bundle_says_unsigned_and_fails_where_a_key_is_trusted(make_spec, tmp_path):
    write_bundle(make_spec(), output=tmp_path / "out")
    report = verify_bundle(tmp_path / "out")
    assert report.passed
    assert any(check.name == "signature" and check.detail.startswith("unsigned") for check in report.checks)
    assert verify_bundle(tmp_path / "out", trusted=keys(tmp_path, "ours")[1]).exit_code == 9


def test_a_file_that_is_no_key_is_not_the_fault_of_the_bundle(signed, tmp_path):
    folder, _ = signed
    other = ed25519.Ed25519PrivateKey.generate().public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "ed.pub").write_bytes(other.public_bytes(serialization.Encoding.PEM, form))
    (tmp_path / "words.pub").write_text("no key", encoding="utf-8")
    for name, reason in (("ed", "the key is not ECDSA"), ("words", "not a public key in PEM"), ("none", "No such file")):
        status, said = statuses(folder, tmp_path / f"{name}.pub")
        (line,) = [line for line in said.splitlines() if line.startswith("unchecked  signature")]
        assert (status, f"{name}.pub: {reason}" in line) == (2, True), said


def test_a_signature_taken_from_another_bundle_is_refused(signed, make_spec, tmp_path):
    folder, public = signed
    write_bundle(make_spec(name="other"), output=tmp_path / "other")
    shutil.copyfile(folder / CODE.FILE, tmp_path / "other" / CODE.FILE)
    assert verify_bundle(tmp_path / "other", trusted=public).exit_code == 7


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_other_curves_sign_too(make_spec, tmp_path, curve):
    secret, public = keys(tmp_path, "k", curve)
    write_bundle(make_spec(), output=tmp_path / "out", sign=secret)
    assert verify_bundle(tmp_path / "out", trusted=public).passed


def test_keys_of_other_kinds_are_refused_before_anything_is_written(make_spec, tmp_path):
    secret = tmp_path / "ed.key"
    no = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    secret.write_bytes(ed25519.Ed25519PrivateKey.generate().private_bytes(serialization.Encoding.PEM, form, no))
    with pytest.raises(RecipeError, match=r"ed\.key: not a private key in PEM for ECDSA"):
        write_bundle(make_spec(), output=tmp_path / "out", sign=secret)
    assert not (tmp_path / "out").exists()


def changed(values, path, new):
    """Return a signature with another value at `path`."""
    copy = json.loads(json.dumps(values))
    place = copy
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = new
    return json.dumps(copy).encode()


@pytest.mark.parametrize(
    ("path", "new"),
    [
        (["dsseEnvelope", "payload"], "AAAA"),
        (["dsseEnvelope", "payload"], "not base64!"),
        (["dsseEnvelope", "payloadType"], "text/plain"),
        (["dsseEnvelope", "signatures"], []),
        (["dsseEnvelope", "signatures", 0, "sig"], "MEUCIQ=="),
        (["verificationMaterial"], None),
        (["verificationMaterial", "publicKey", "hint"], 3),
    ],
)
def test_damaged_signatures_are_refused_in_one_line(signed, path, new):
    folder, public = signed
    values = json.loads((folder / CODE.FILE).read_text(encoding="utf-8"))
    (folder / CODE.FILE).write_bytes(changed(values, path, new))
    status, said = statuses(folder, public)
    assert status == 7
    assert "Traceback" not in said


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_signature_file_crashes_the_check(content):
    pem = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    with pytest.raises(CODE.SignatureFault):
        CODE.check(content, pem, {"a": "00" * 32})


def test_the_reference_implementation_agrees(signed):
    reference = pytest.importorskip("model_signing.verifying")
    folder, public = signed
    reference.Config().use_elliptic_key_verifier(public_key=public).verify(folder, folder / CODE.FILE)
