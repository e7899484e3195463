"""The bill of materials: what it says, the same bytes twice, and CycloneDX's own schema where the package is at hand."""

import json

import pytest

from edgeopt.bundle import write_bundle
from edgeopt.bundle.spec import Origin


@pytest.fixture
def bill(make_spec, tmp_path):
    origins = (Origin("teacher", "bert", ""), Origin("data", "sentences", "ab" * 32))
    spec = make_spec(origins=origins, licences={"model": "Apache-2.0", "data": "CC BY 4.0"})
    write_bundle(spec, output=tmp_path / "out")
    return (tmp_path / "out" / "sbom.cdx.json").read_text(encoding="utf-8"), tmp_path / "out"


def test_the_model_has_a_card_a_hash_and_a_licence(bill):
    values = json.loads(bill[0])
    model = values["metadata"]["component"]
    assert (values["bomFormat"], values["specVersion"], model["type"]) == ("CycloneDX", "1.6", "machine-learning-model")
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert model["modelCard"]["modelParameters"]["inputs"] == [{"format": "pixels: float32[batch, 4]"}]
    assert model["modelCard"]["modelParameters"]["datasets"][0]["name"] == "sentences"
    manifest = json.loads((bill[1] / "bundle.json").read_text(encoding="utf-8"))
    hashes = {entry["path"]: entry["sha256"] for entry in manifest["files"]}
    assert model["hashes"] == [{"alg": "SHA-256", "content": hashes["model.onnx"]}]
    listed = {
        part["name"]: part["hashes"][0]["content"] for part in values["components"] if part["bom-ref"].startswith("file-")
    }
    assert listed == {name: value for name, value in hashes.items() if name not in ("model.onnx", "sbom.cdx.json")}
    assert [part["name"] for part in values["components"][:2]] == ["bert", "sentences"]


def test_it_is_valid_by_the_schema_of_cyclonedx(bill):
    schema = pytest.importorskip("cyclonedx.schema")
    validation = pytest.importorskip("cyclonedx.validation.json")
    assert validation.JsonStrictValidator(schema.SchemaVersion.V1_6).validate_str(bill[0]) is None
