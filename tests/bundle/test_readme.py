import json

from edgeopt.bundle import TokenizerInput, write_bundle
from edgeopt.bundle.readme import readme


def test_it_names_inputs_outputs_labels_and_the_commands(make_spec, tmp_path):
    write_bundle(make_spec(), output=tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert text.startswith("# student\n")
    assert "onnxruntime 1.15 or later" in text
    assert "| input | `pixels` | float32 | batch × 4 |" in text
    assert "| output | `logits` | float32 | batch × 3 |" in text
    assert "3 labels: cat, dog, owl" in text
    assert "python verify.py" in text


def test_a_model_from_images_that_nothing_was_tried_with_is_said(make_spec, tmp_path):
    write_bundle(make_spec(), output=tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "bundle.json").read_text(encoding="utf-8"))
    facts["in_graph"] = {"file": "f", "input": "i", "package": "p", "raw_inputs": 0, "same_answers": 0}
    assert "there was no golden raw input to try it with" in readme(make_spec(), facts)


def test_names_of_strangers_stay_text(make_spec, tmp_path):
    spec = make_spec(name="<script>alert(1)</script>\n# pwned", labels=("a|b", "`c`", "[x](javascript:1)"))
    write_bundle(spec, output=tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "bundle.json").read_text(encoding="utf-8"))
    facts["inputs"][0]["name"] = "x`|<b>"
    text = readme(make_spec(name=spec.name, labels=spec.labels, preprocessing=TokenizerInput(max_length=2)), facts)
    assert "<script>" not in text
    assert "\n# pwned" not in text
    assert r"a\|b, \`c\`, \[x\](javascript:1)" in text
    assert "| input | `x'/<b>` |" in text
    assert 'python example.py "A text"' in text
