"""Bundles in a registry on this machine: pushed, pulled, and refused where digests do not fit."""

import contextlib
import hashlib
import http.server
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from typing import Any

import pytest

from edgeopt.bundle import verify_bundle, write_bundle
from edgeopt.bundle.oci import pull_bundle, push_bundle, read_reference
from edgeopt.errors import DataError, IntegrityError, MachineError, ModelError, RecipeError


class Registry(http.server.BaseHTTPRequestHandler):
    """The part of the distribution API that pushing and pulling an artifact need."""

    blobs: dict[str, bytes]
    manifests: dict[str, bytes]

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.answer(200 if self.path.rsplit("/", 1)[1] in self.blobs else 404)

    def do_GET(self) -> None:
        found = (self.manifests if "/manifests/" in self.path else self.blobs).get(self.path.rsplit("/", 1)[1])
        self.answer(200, found) if found is not None else self.answer(404, b"not here")

    def do_POST(self) -> None:
        self.answer(202, Location="/v2/upload?state=1")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        place = urllib.parse.urlsplit(self.path)
        if "/manifests/" in place.path:
            self.manifests[place.path.rsplit("/", 1)[1]] = self.manifests[digest] = body
            return self.answer(201)
        if urllib.parse.parse_qs(place.query)["digest"] != [digest]:
            return self.answer(400, b"another digest")
        self.blobs[digest] = body
        return self.answer(201)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def registry():
    Registry.blobs, Registry.manifests = {}, {}
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def distribution(tmp_path):
    """The registry that Debian has, with an empty store."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("docker-registry is not installed (Debian: docker-registry)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "store")}},
        "http": {"addr": address},
    }
    (tmp_path / "registry.yml").write_text(json.dumps(settings), encoding="utf-8")  # (JSON is YAML)
    with subprocess.Popen([program, "serve", str(tmp_path / "registry.yml")], stderr=subprocess.DEVNULL) as process:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{address}/v2/"):
                break
            time.sleep(0.1)
        yield address
        process.terminate()


def test_a_registry_of_containers_keeps_bundles(distribution, make_spec, tmp_path):
    write_bundle(make_spec(), output=tmp_path / "bundle")
    reference = push_bundle(tmp_path / "bundle", f"{distribution}/models/tiny:1")
    assert push_bundle(tmp_path / "bundle", f"{distribution}/models/tiny:2") == reference
    for number, place in enumerate((f"{distribution}/models/tiny:1", reference)):
        pull_bundle(place, tmp_path / str(number))
        assert verify_bundle(tmp_path / str(number)).passed
    with pytest.raises(MachineError, match=r"status 404: .*MANIFEST_UNKNOWN"):
        pull_bundle(f"{distribution}/models/tiny:3", tmp_path / "none")


@pytest.fixture
def pushed(registry, make_spec, tmp_path):
    write_bundle(make_spec(), output=tmp_path / "bundle")
    return registry, push_bundle(tmp_path / "bundle", f"{registry}/models/tiny:1")


def test_what_was_pushed_is_pulled_by_tag_and_by_digest(pushed, tmp_path):
    registry, reference = pushed
    for number, place in enumerate((f"{registry}/models/tiny:1", reference)):
        pull_bundle(place, tmp_path / str(number))
        assert verify_bundle(tmp_path / str(number)).passed
    again = push_bundle(tmp_path / "0", f"{registry}/models/tiny:2")
    assert again == reference  # the same bytes have the same digest


def test_content_with_another_digest_is_refused(pushed, tmp_path):
    registry, reference = pushed
    digest = max(Registry.blobs, key=lambda name: len(Registry.blobs[name]))
    Registry.blobs[digest] = Registry.blobs[digest][:-1] + b"x"
    with pytest.raises(IntegrityError, match="has another digest"):
        pull_bundle(f"{registry}/models/tiny:1", tmp_path / "out")
    Registry.manifests[reference.partition("@")[2]] += b" "
    with pytest.raises(IntegrityError, match="has another digest"):
        pull_bundle(reference, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"layers": []}', b'{"artifactType": "x", "layers": [{"mediaType": 3}]}'])
def test_other_artifacts_are_no_bundles(registry, body, tmp_path):
    Registry.manifests["latest"] = body
    with pytest.raises(DataError, match="not a bundle that edgeopt pushed"):
        pull_bundle(f"{registry}/x", tmp_path / "out")


def test_a_bundle_that_does_not_verify_is_not_pushed(registry, make_spec, tmp_path):
    write_bundle(make_spec(), output=tmp_path / "bundle")
    (tmp_path / "bundle" / "README.md").write_text("changed", encoding="utf-8")
    with pytest.raises(ModelError, match=r"bundle: does not verify: files: README\.md"):
        push_bundle(tmp_path / "bundle", f"{registry}/models/tiny:1")
    assert not Registry.manifests and not Registry.blobs


def test_references_and_refusals_are_named(registry, tmp_path):
    assert read_reference("host.example:5000/a/b").version == "latest"
    for wrong in ("nothing", "host/UPPER:1", "host/a:", "host/a@sha256:1"):
        with pytest.raises(RecipeError, match="is no OCI reference"):
            read_reference(wrong)
    with pytest.raises(MachineError, match="status 404: not here"):
        pull_bundle(f"{registry}/none:1", tmp_path / "out")
    with pytest.raises(MachineError, match="cannot be reached"):
        pull_bundle("127.0.0.1:9/none:1", tmp_path / "out")


def test_what_is_no_registry_or_no_bundle_is_said(tmp_path):
    def greet(server: socket.socket) -> None:
        with server.accept()[0] as visitor:
            visitor.sendall(b"SSH-2.0-other\r\n")
            visitor.recv(1 << 16)

    with socket.create_server(("127.0.0.1", 0)) as other:
        threading.Thread(target=greet, args=(other,), daemon=True).start()
        with pytest.raises(MachineError, match="cannot be reached: SSH-2"):
            pull_bundle(f"127.0.0.1:{other.getsockname()[1]}/a:1", tmp_path / "out")
    with pytest.raises(MachineError, match="cannot be reached"):
        pull_bundle("a..b/name:1", tmp_path / "out")
    (tmp_path / "bundle.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelError, match="names no model and task"):
        push_bundle(tmp_path, "127.0.0.1:9/a:1")
    with pytest.raises(RecipeError, match="exists already"):
        pull_bundle("127.0.0.1:9/a:1", tmp_path)


def test_user_and_password_stay_with_the_registry(registry, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEOPT_REGISTRY_USER", "me")
    monkeypatch.setenv("EDGEOPT_REGISTRY_PASSWORD", "secret")
    seen = []

    class Redirecting(Registry):
        def do_GET(self) -> None:
            seen.append((self.path, self.headers.get("Authorization") is not None))
            if "/moved" in self.path:
                return self.answer(404)
            return self.answer(307, Location=f"http://localhost:{self.server.server_address[1]}/moved")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirecting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(MachineError, match="status 404"):
            pull_bundle(f"127.0.0.1:{server.server_address[1]}/a:1", tmp_path / "out")
        server.shutdown()
    assert seen == [("/v2/a/manifests/1", True), ("/moved", False)]
