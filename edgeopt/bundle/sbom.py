"""The bill of materials of a bundle: CycloneDX 1.6, with the model as a component that has a model card.

It lists the model with its hash, its licence and its card (task, inputs, outputs, data sets), every other file of the bundle,
what the bundle was made from, and the packages that run it. It holds no time, so that the same bundle has the same bill.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from edgeopt.bundle.licence import UNSTATED
from edgeopt.bundle.result import BundleFile

FILE = "sbom.cdx.json"
_VERSION = re.compile(r"[A-Za-z0-9.+-]+")
_KNOWN = (
    *("0BSD", "AGPL-3.0-only", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC-BY-4.0", "CC-BY-NC-4.0", "CC-BY-SA-3.0"),
    *("CC-BY-SA-4.0", "CC0-1.0", "GPL-2.0-only", "GPL-3.0-only", "ISC", "LGPL-2.0-only", "LGPL-2.1-only", "LGPL-3.0-only"),
    *("MIT", "MPL-2.0", "Unlicense", "Zlib"),
)
"""SPDX identifiers; a licence of another name is named, not identified."""


def bill_of_materials(facts: Mapping[str, Any], files: Sequence[BundleFile]) -> str:
    """Return the bill as JSON; `facts` is the model's part of bundle.json, `files` are those of the bundle so far."""
    model = facts["model"]["file"]
    others = [file for file in files if file.path != model]
    about = next(file for file in files if file.path == model)
    seed = hashlib.sha256("".join(f"{file.path} {file.sha256}\n" for file in files).encode()).digest()[:16]
    values = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.UUID(bytes=seed, version=4)}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "edgeopt", "version": facts["versions"]["edgeopt"]}]},
            "component": _model(facts, about),
        },
        "components": [*_origins(facts), *_runtime(facts), *(_file(file) for file in others)],
        "dependencies": [{"ref": "model", "dependsOn": [f"runtime-{name}" for name in ("numpy", "onnxruntime")]}],
    }
    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _model(facts: Mapping[str, Any], file: BundleFile) -> dict[str, Any]:
    data = facts["licences"].get("data") or UNSTATED
    card: dict[str, Any] = {
        "modelParameters": {
            "task": facts["task"],
            "inputs": [{"format": _format(tensor)} for tensor in facts["inputs"]],
            "outputs": [{"format": _format(tensor)} for tensor in facts["outputs"]],
            "datasets": [
                {
                    "type": "dataset",
                    "name": origin["name"],
                    "description": f"licence: {data}",
                }
                for origin in facts["origins"]
                if origin["role"] == "data"
            ],
        }
    }
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": facts["name"],
        "version": file.sha256[:12],
        "hashes": [{"alg": "SHA-256", "content": file.sha256}],
        "modelCard": card,
        "properties": [
            {"name": "edgeopt:target", "value": facts["target"]},
            {"name": "edgeopt:arithmetic", "value": facts["model"]["arithmetic"]},
        ],
    }
    licence = facts["licences"].get("model", UNSTATED)
    if licence != UNSTATED:
        component["licenses"] = [{"license": _licence(licence)}]
    return component


def _licence(text: str) -> dict[str, str]:
    return {"id": text} if text in _KNOWN else {"name": text}


def _format(tensor: Mapping[str, Any]) -> str:
    return f"{tensor['name']}: {tensor['dtype']}[{', '.join(map(str, tensor['shape']))}]"


def _origins(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what the model was made from, the earliest first."""
    kinds = {"data": "data"}
    return [
        {
            "type": kinds.get(origin["role"], "file"),
            "bom-ref": f"origin-{place}",
            "name": origin["name"],
            "description": origin["role"],
            **({"hashes": [{"alg": "SHA-256", "content": origin["sha256"]}]} if origin["sha256"] else {}),
        }
        for place, origin in enumerate(facts["origins"])
    ]


def _runtime(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "type": "library",
            "bom-ref": f"runtime-{name}",
            "name": name,
            "version": facts["versions"][name],
            "purl": f"pkg:pypi/{name}@{facts['versions'][name]}",
            "scope": "required",
        }
        for name in ("numpy", "onnxruntime")
        if _VERSION.fullmatch(facts["versions"][name])
    ]


def _file(file: BundleFile) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": f"file-{file.path}",
        "name": file.path,
        "hashes": [{"alg": "SHA-256", "content": file.sha256}],
    }
