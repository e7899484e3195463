"""Tokenizers of the JavaScript and C++ templates beside the package tokenizers: ids and offsets of many sentences, one by one.

    python -m benchmarks.deploy.tokens TEXT… [--tokenizer tokenizer.json …] [--count 5000]

Tokenizers of the usual kinds are trained on the first text: byte-level BPE (GPT-2's, RoBERTa's, Llama 3's, Qwen's), BPE with
byte fallback (Llama 2's), with end-of-word marks (CLIP's), and Unigram (T5's and XLM-R's, whose map of characters comes from
the package sentencepiece, and ALBERT's). Others are given as files. Lines of the texts and crafted ones are compared.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from edgeopt._folders import shipped
from edgeopt.bundle.unicode_table import unicode_table

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
CRAFTED = (
    *("", " ", "  two  spaces ", "\ttab\nline\r\nend", "Don't WON'T I'll they've we'd", "naïve café ﬁne ½ ① Ａ"),
    *("中文字符と日本語 한국어", "emoji 👩‍👩‍👧 🇩🇪 👍🏽 ☂️", "e\u0301 a\u0300\u0323 ｶﾞ", "x" * 300),
    *("1234567 3.14 ٣٤٥", "<s> </s> <pad> <mask> [MASK]", "…—“quotes”‘’«»", "ΣΑΣ İstanbul ǅ ß"),
    *("\u200b\u200czero\ufeffwidth\u00a0nbsp\u3000wide", "a\x00b\x07c\x85d", "नमस्ते दुनिया ไทย"),
    *("עברית العربية", "😀", "&lt;b&gt; <0x41> ▁under▁score", "CamelCaseWordsAndUPPER"),
    *("https://example.org/a?b=c&d=1#e", "🏳️‍🌈 \U0001f9d1\u200d\U0001f4bb"),
)
SCRIPT = """
const { readFile } = await import("node:fs/promises");
const { Tokenizer } = await import(process.argv[1]);
const tokenizer = new Tokenizer(JSON.parse(await readFile(process.argv[2], "utf8")), 1 << 30);
const found = [];
for (const text of JSON.parse(await readFile(process.argv[3], "utf8"))) {
  const { ids, offsets } = tokenizer.encode(text);
  found.push([ids, offsets, tokenizer.decode(ids)]);
}
process.stdout.write(JSON.stringify(found));
"""
Found = list[tuple[list[int], list[list[int]], str]]


def main() -> int:
    """Print a row for each tokenizer; return 1 if a token differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("texts", nargs="+", type=Path)
    parser.add_argument("--tokenizer", action="append", default=[], type=Path)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    lines = [line for path in options.texts for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    random.Random(0).shuffle(lines)
    sentences = [*CRAFTED, *lines[: options.count]]
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        program = built(Path(folder))
        made = [(path.parent.name, Tokenizer.from_file(str(path))) for path in options.tokenizer]
        for name, tokenizer in [*made, *trained(options.texts[0], options.only)]:
            if options.only and options.only not in name:
                continue
            tokenizer.save(f"{folder}/tokenizer.json")
            rows = compared(Path(folder), tokenizer, sentences, program)
            for row in rows:
                print(json.dumps({"tokenizer": name, **row}, ensure_ascii=False), flush=True)
                failed |= bool(row["ids"] or row["offsets"])
    return int(failed)


def compared(folder: Path, tokenizer: Tokenizer, sentences: list[str], program: Path | None) -> Iterator[dict[str, Any]]:
    """Yield one row for each implementation: how many sentences differ in ids, offsets and decoded text."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    wanted = [(one.ids, [list(pair) for pair in one.offsets]) for one in tokenizer.encode_batch(sentences)]
    tokens = sum(len(ids) for ids, _ in wanted)
    (folder / "sentences.json").write_text(json.dumps(sentences), encoding="utf-8")
    for way, run in (("JavaScript", javascript), ("C++", cpp)):
        if way == "C++" and program is None:
            continue
        found = run(folder, program)
        differ = [k for k, (ids, _) in enumerate(wanted) if ids != found[k][0]]
        moved = [k for k, pair in enumerate(wanted) if pair[0] == found[k][0] and pair[1] != found[k][1]]
        decoded = [k for k, (ids, _) in enumerate(wanted) if way == "JavaScript" and tokenizer.decode(ids) != found[k][2]]
        row: dict[str, Any] = {"in": way, "sentences": len(sentences), "tokens": tokens}
        row |= {"ids": len(differ), "offsets": len(moved), "decoded": len(decoded)}
        for key, places in (("ids", differ), ("offsets", moved)):
            if places:
                at = places[0]
                row[f"{key}_example"] = {"text": sentences[at][:80], "wanted": wanted[at][key == "offsets"][:24],
                                         "found": found[at][key == "offsets"][:24]}  # fmt: skip
        if decoded:
            row["decoded_example"] = [tokenizer.decode(wanted[decoded[0]][0])[:80], found[decoded[0]][2][:80]]
        yield row


def built(folder: Path, *flags: str) -> Path | None:
    """Return the tokenizer of the C++ template as a program, compiled in `folder`; None without a compiler."""
    if shutil.which("g++") is None:
        return None
    sources = shipped("deploy") / "templates" / "cpp" / "project" / "src"
    program = folder / "tokenize"
    own = Path(__file__).with_name("tokenize.cpp")
    subprocess.run(["g++", "-std=c++17", *(flags or ("-O2",)), "-I", str(sources), str(own), "-o", str(program)], check=True)
    return program


def javascript(folder: Path, program: Path | None) -> Found:
    """Return ids, offsets and decoded text by the JavaScript template."""
    del program
    script = shipped("deploy") / "templates" / "javascript" / "project" / "text.mjs"
    command = ["node", "--input-type=module", "-e", SCRIPT, str(script), "tokenizer.json", "sentences.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: Found = json.loads(done.stdout)
    return found


def cpp(folder: Path, program: Path | None) -> Found:
    """Return ids and offsets by the C++ template."""
    (folder / "unicode.txt").write_text(
        unicode_table(json.loads((folder / "tokenizer.json").read_text("utf-8"))), encoding="utf-8"
    )
    command = [str(program), "tokenizer.json", "unicode.txt", "sentences.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: Found = [(ids, offsets, "") for ids, offsets in json.loads(done.stdout)]
    return found


def trained(text: Path, only: str) -> Iterator[tuple[str, Tokenizer]]:
    """Yield tokenizers of the usual kinds, trained on a text."""
    kinds: dict[str, Callable[[Path], Tokenizer | None]] = {
        "gpt2-like": gpt2, "roberta-like": roberta, "llama3-like": llama3, "qwen-like": qwen, "llama2-like": llama2,
        "clip-like": clip, "t5-like": t5, "xlm-r-like": xlm_r, "albert-like": albert,
    }  # fmt: skip
    for name, make in kinds.items():
        if not only or only in name:
            made = make(text)
            if made is None:
                print(json.dumps({"tokenizer": name, "skipped": "the package sentencepiece is not installed"}))
            else:
                yield name, made


def byte_level(text: Path, pre: Any, normalizer: Any = None, special: tuple[str, ...] = ("<|endoftext|>",)) -> Tokenizer:
    """Return byte-level BPE behind a pre-tokenizer and a normalizer, trained on a text."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre, decoders.ByteLevel()
    if normalizer is not None:
        made.normalizer = normalizer
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train([str(text)], trainers.BpeTrainer(vocab_size=8000, special_tokens=list(special), initial_alphabet=alphabet))
    return made


def gpt2(text: Path) -> Tokenizer:
    """Return a tokenizer like GPT-2's."""
    made = byte_level(text, pre_tokenizers.ByteLevel(add_prefix_space=False))
    made.post_processor = processors.ByteLevel(trim_offsets=True)
    return made


def roberta(text: Path) -> Tokenizer:
    """Return a tokenizer like RoBERTa's."""
    made = byte_level(text, pre_tokenizers.ByteLevel(add_prefix_space=False), special=("<s>", "<pad>", "</s>", "<unk>"))
    made.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    return made


def llama3(text: Path) -> Tokenizer:
    """Return a tokenizer like Llama 3's."""
    pre = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made = byte_level(text, pre, special=("<|begin_of_text|>",))
    made.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing("<|begin_of_text|> $A", "<|begin_of_text|> $A $B:1", [("<|begin_of_text|>", 0)]),
        ]
    )
    settings = json.loads(made.to_str())
    settings["model"]["ignore_merges"] = True
    return Tokenizer.from_str(json.dumps(settings))


def qwen(text: Path) -> Tokenizer:
    """Return a tokenizer like Qwen's."""
    pre = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(QWEN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made = byte_level(text, pre, normalizers.NFC())
    made.add_tokens(["<think>"])
    return made


def llama2(text: Path) -> Tokenizer:
    """Return a tokenizer like Llama 2's."""
    made = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    made.train([str(text)], trainers.BpeTrainer(vocab_size=6000, special_tokens=special))
    settings = json.loads(made.to_str())
    settings["added_tokens"] = settings["added_tokens"][:3]
    settings["pre_tokenizer"] = None
    settings["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ],
    }
    made = Tokenizer.from_str(json.dumps(settings))
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s>:1 $B:1", [("<s>", 1)])
    return made


def clip(text: Path) -> Tokenizer:
    """Return a tokenizer with end-of-word marks, as CLIP's has them."""
    made = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    made.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    made.decoder = decoders.BPEDecoder()
    made.train([str(text)], trainers.BpeTrainer(vocab_size=5000, special_tokens=["<unk>"], end_of_word_suffix="</w>"))
    return made


def unigram(text: Path, normalizer: Any, pre: Any) -> Tokenizer:
    """Return a Unigram tokenizer behind a normalizer and a pre-tokenizer."""
    made = Tokenizer(models.Unigram())
    made.normalizer, made.pre_tokenizer, made.decoder = normalizer, pre, decoders.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    made.train([str(text)], trainers.UnigramTrainer(vocab_size=8000, special_tokens=special, unk_token="<unk>"))
    made.post_processor = processors.TemplateProcessing("<s> $A </s>", "<s> $A </s> </s> $B </s>", [("<s>", 0), ("</s>", 2)])
    return made


def sentencepiece_map(text: Path) -> bytes | None:
    """Return SentencePiece's map of characters (nmt_nfkc)."""
    try:
        import sentencepiece
        from sentencepiece import sentencepiece_model_pb2 as forms
    except ImportError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        sentencepiece.SentencePieceTrainer.train(
            input=str(text), model_prefix=f"{folder}/m", vocab_size=400, minloglevel=2, hard_vocab_limit=False
        )
        model = forms.ModelProto()
        model.ParseFromString(Path(folder, "m.model").read_bytes())
    charsmap: bytes = model.normalizer_spec.precompiled_charsmap
    return charsmap


def t5(text: Path) -> Tokenizer | None:
    """Return a tokenizer like T5's, or None without the package sentencepiece."""
    charsmap = sentencepiece_map(text)
    if charsmap is None:
        return None
    normalizer = normalizers.Precompiled(charsmap)
    return unigram(text, normalizer, pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]))


def xlm_r(text: Path) -> Tokenizer | None:
    """Return a tokenizer like XLM-R's, or None without the package sentencepiece."""
    charsmap = sentencepiece_map(text)
    if charsmap is None:
        return None
    steps = [
        normalizers.Precompiled(charsmap),
        normalizers.Strip(left=False, right=True),
        normalizers.Replace(Regex(" {2,}"), "▁"),
    ]
    return unigram(text, normalizers.Sequence(steps), pre_tokenizers.Metaspace())


def albert(text: Path) -> Tokenizer:
    """Return a tokenizer like ALBERT's."""
    steps = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(), normalizers.StripAccents(),
             normalizers.Lowercase()]  # fmt: skip
    return unigram(text, normalizers.Sequence(steps), pre_tokenizers.Metaspace())


if __name__ == "__main__":
    sys.exit(main())
