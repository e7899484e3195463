"""Bundles in a container registry, as OCI artifacts (image manifest 1.1 with an artifactType): push and pull.

One layer holds the packed bundle (.tar.zst), the config is the empty one. A registry on this machine (127.0.0.1, localhost) is
spoken to without TLS; any other over HTTPS, with the user and password in ``EDGEOPT_REGISTRY_USER`` and
``EDGEOPT_REGISTRY_PASSWORD`` where they are set. What is pulled is checked by its digest before it is unpacked.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeopt.bundle.pack import pack_bundle, unpack_bundle
from edgeopt.bundle.verify import need_verified
from edgeopt.documents import read_json
from edgeopt.errors import DataError, IntegrityError, MachineError, ModelError, RecipeError
from edgeopt.lifetime import temporary_folder

ARTIFACT_TYPE = "application/vnd.edgeopt.bundle.v2"
LAYER_TYPE = "application/vnd.edgeopt.bundle.v2.tar+zstd"
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_REFERENCE = re.compile(
    r"(?P<host>[a-zA-Z0-9.-]+(?::\d+)?)/(?P<name>[a-z0-9]+(?:[._/-][a-z0-9]+)*)(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_TIMEOUT_S = 300
_MANIFEST_LIMIT_BYTES = 4 << 20


@dataclass(frozen=True)
class Reference:
    """A place in a registry, such as host:5000/name:tag."""

    host: str
    name: str
    version: str
    """Tag, or digest."""

    @property
    def address(self) -> str:
        """Where the registry answers about this name."""
        local = self.host.partition(":")[0] in ("127.0.0.1", "localhost")
        return f"{'http' if local else 'https'}://{self.host}/v2/{self.name}"


def read_reference(text: str) -> Reference:
    """Return the reference that `text` is.

    Raises:
        RecipeError: it is none.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise RecipeError(f"'{text}' is no OCI reference; write HOST[:PORT]/NAME[:TAG], such as 127.0.0.1:5000/models/digits:1")
    return Reference(match["host"], match["name"], match["digest"] or match["tag"] or "latest")


def push_bundle(bundle: Path, reference: str) -> str:
    """Push the bundle in the folder `bundle`; return its reference by digest.

    Raises:
        ModelError: it is no bundle, or does not verify.
        MachineError: the registry cannot be reached or refuses.
    """
    place = read_reference(reference)
    facts = read_json(bundle / "bundle.json", error=ModelError, what="a bundle's manifest")
    if not isinstance(facts, dict) or not {"name", "task"} <= facts.keys():
        raise ModelError(f"{bundle}: its bundle.json names no model and task; write the bundle again")
    need_verified(bundle)
    with temporary_folder("edgeopt-oci-") as folder:
        packed = folder / "bundle.tar.zst"
        pack_bundle(bundle, packed)
        content = packed.read_bytes()
    empty = b"{}"
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST_TYPE,
        "artifactType": ARTIFACT_TYPE,
        "config": {**_described(empty), "mediaType": _EMPTY_TYPE},
        "layers": [{**_described(content), "mediaType": LAYER_TYPE}],
        "annotations": {
            "org.opencontainers.image.title": str(facts["name"]),
            "org.opencontainers.image.description": str(facts["task"]),
        },
    }
    for blob in (empty, content):
        _push_blob(place, blob)
    body = json.dumps(manifest, sort_keys=True).encode()
    _call(place, "PUT", f"/manifests/{place.version}", body, {"Content-Type": _MANIFEST_TYPE})
    return f"{place.host}/{place.name}@{_described(body)['digest']}"


def pull_bundle(reference: str, output: Path) -> None:
    """Pull a bundle into the new folder `output`.

    Raises:
        DataError: what is there is no bundle.
        IntegrityError: it does not have its digest.
        RecipeError: `output` exists already.
        MachineError: the registry cannot be reached or refuses.
    """
    place = read_reference(reference)
    if output.exists():
        raise RecipeError(f"{output}: exists already; give a new folder")
    where, accepted = f"/manifests/{place.version}", {"Accept": _MANIFEST_TYPE}
    body = _call(place, "GET", where, None, accepted, most=_MANIFEST_LIMIT_BYTES + 1)[0]
    if len(body) > _MANIFEST_LIMIT_BYTES:
        raise DataError(f"{reference}: its manifest is larger than {_MANIFEST_LIMIT_BYTES} bytes")
    if place.version.startswith("sha256:"):
        _check(body, place.version)
    try:
        manifest = json.loads(body)
        layers = [layer for layer in manifest["layers"] if layer["mediaType"] == LAYER_TYPE]
        digest = layers[0]["digest"] if manifest["artifactType"] == ARTIFACT_TYPE else None
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise DataError(f"{reference}: not a bundle that edgeopt pushed") from error
    if not isinstance(digest, str) or not re.fullmatch("sha256:[0-9a-f]{64}", digest):
        raise DataError(f"{reference}: not a bundle that edgeopt pushed")
    content = _call(place, "GET", f"/blobs/{digest}", None, {})[0]
    _check(content, digest)
    with temporary_folder("edgeopt-oci-") as folder:
        packed = folder / "bundle.tar.zst"
        packed.write_bytes(content)
        unpack_bundle(packed, output)


def _described(content: bytes) -> dict[str, Any]:
    return {"digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content)}


def _check(content: bytes, digest: str) -> None:
    if _described(content)["digest"] != digest:
        raise IntegrityError(f"what the registry gave for {digest[:23]}… has another digest")


def _push_blob(place: Reference, content: bytes) -> None:
    digest = _described(content)["digest"]
    with contextlib.suppress(MachineError):
        _call(place, "HEAD", f"/blobs/{digest}", None, {})
        return  # the registry has it already
    _, headers = _call(place, "POST", "/blobs/uploads/", b"", {})
    location = urllib.parse.urljoin(f"{place.address}/", headers.get("Location", ""))
    query = "&" if "?" in location else "?"
    address = f"{location}{query}digest={urllib.parse.quote(digest)}"
    _send(place, "PUT", address, content, {"Content-Type": "application/octet-stream"})


def _call(
    place: Reference, method: str, path: str, body: bytes | None, headers: dict[str, str], *, most: int | None = None
) -> tuple[bytes, Any]:
    return _send(place, method, place.address + path, body, headers, most=most)


def _send(
    place: Reference, method: str, address: str, body: bytes | None, headers: dict[str, str], *, most: int | None = None
) -> tuple[bytes, Any]:
    """Return up to `most` bytes of an answer and its headers; user and password go to the registry's own host alone."""
    if not address.startswith(("http://", "https://")):
        raise MachineError(f"the registry answered with an address that is none: {address[:80]}")
    request = urllib.request.Request(address, data=body, method=method, headers=headers)
    user, password = os.environ.get("EDGEOPT_REGISTRY_USER"), os.environ.get("EDGEOPT_REGISTRY_PASSWORD")
    if user and password and urllib.parse.urlsplit(address).netloc == place.host:
        login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_unredirected_header("Authorization", login)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            return response.read(most), response.headers
    except urllib.error.HTTPError as error:
        said = error.read(200).decode("utf-8", "replace")
        raise MachineError(f"the registry refused {method} {address}: status {error.code}: {' '.join(said.split())}") from error
    except (OSError, http.client.HTTPException, ValueError, OverflowError) as error:  # (the last two: of such a host or port)
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        said = " ".join(str(reason).split()) or type(error).__name__
        raise MachineError(f"the registry at {address} cannot be reached: {said}") from error
