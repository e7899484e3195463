"""Tokenizers of the templates beside the package tokenizers: ids, offsets and decoded texts, for the usual kinds."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from benchmarks.deploy import tokens
from edgeopt._folders import shipped

KINDS = ("gpt2", "roberta", "llama3", "qwen", "llama2", "clip", "albert")
WORDS = (
    "the quick brown fox jumps over 13 lazy dogs, isn't it? Über-naïve café: 42.5 % of $99! I'll say “yes”…\n"
    "A SECOND LINE of Text with CamelCase, numbers 2024 and 1234567; snake_case, e-mail@example.org and (brackets).\n"
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    return tokens.built(tmp_path_factory.mktemp("cpp"), "-O0", "-Wall", "-Wextra", "-Werror")


@pytest.mark.parametrize("kind", KINDS)
def test_javascript_and_cpp_give_the_tokens_of_the_package(kind: str, program: Path | None, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    text = tmp_path / "text.txt"
    text.write_text(WORDS * 20, encoding="utf-8")
    tokenizer = getattr(tokens, kind)(text)
    sentences = [*tokens.CRAFTED, *WORDS.splitlines(), WORDS]
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    rows = list(tokens.compared(tmp_path, tokenizer, sentences, program))
    assert [row["in"] for row in rows] == ["JavaScript", *(["C++"] if program else [])]
    for row in rows:
        assert (row["sentences"], row["ids"], row["offsets"], row["decoded"]) == (len(sentences), 0, 0, 0), row


def test_of_special_tokens_the_longest_counts(program: Path | None, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    words = ("[UNK]", "[A", "[AB]", "c", "d")
    tokenizer = Tokenizer(models.WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing("$A", "$A $B:1", [])
    tokenizer.add_special_tokens(["[A", "[AB]"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for row in tokens.compared(tmp_path, tokenizer, ["c [AB] d", "[A [AB]"], program):
        assert (row["ids"], row["offsets"]) == (0, 0), row


@pytest.mark.parametrize("pattern", ["[[:alpha:]]+", r"\\p{Greek}", "(?<=a)b", r"\\bword"])
def test_a_pattern_that_cpp_does_not_read_is_said(pattern: str, program: Path | None, tmp_path: Path) -> None:
    if program is None:
        pytest.skip("no C++ compiler")
    words = f'{{"type": "Split", "pattern": {{"Regex": "{pattern}"}}, "behavior": "Isolated", "invert": false}}'
    model = '{"type": "BPE", "vocab": {}, "merges": []}'
    text = f'{{"added_tokens": [], "normalizer": null, "pre_tokenizer": {words}, "model": {model}, "post_processor": null}}'
    (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
    (tmp_path / "sentences.json").write_text('["a"]', encoding="utf-8")
    with pytest.raises(SystemExit, match="not read here"):
        tokens.cpp(tmp_path, program)


def test_tokens_that_have_no_name_are_no_part_of_a_text(tmp_path: Path) -> None:
    """A model's vocabulary may be larger than its tokenizer's."""
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    unigram = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁a", -1.0), ("b", -1.0)], unk_id=0))
    unigram.pre_tokenizer, unigram.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    wordpiece = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    wordpiece.normalizer, wordpiece.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    wordpiece.post_processor = processors.TemplateProcessing("$A", "$A $B:1", [])
    ids = [[7, 1, 2], [1, 7, 2], [1, 2, 7]]
    text = shipped("deploy") / "templates" / "javascript" / "project" / "text.mjs"
    script = f"""
        import {{ readFile }} from "node:fs/promises";
        const {{ Tokenizer }} = await import({json.dumps(text.as_uri())});
        const tokenizer = new Tokenizer(JSON.parse(await readFile("tokenizer.json", "utf8")), 9);
        console.log(JSON.stringify({json.dumps(ids)}.map((one) => tokenizer.decode(one))));
    """
    for tokenizer in (unigram, wordpiece):
        tokenizer.save(str(tmp_path / "tokenizer.json"))
        done = subprocess.run(
            ["node", "--input-type=module", "-e", script], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout) == [tokenizer.decode(one) for one in ids]
