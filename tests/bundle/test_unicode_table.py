"""The table for programs without a Unicode library: what it says of some characters."""

from edgeopt.bundle.unicode_table import unicode_table

OPTIONS = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}


def settings(**normalizer: object) -> dict[str, object]:
    kinds = {"pre_tokenizer": "BertPreTokenizer", "model": "WordPiece", "post_processor": "TemplateProcessing"}
    parts = {name: {"type": kind} for name, kind in kinds.items()}
    return {**parts, "added_tokens": [], "normalizer": {"type": "BertNormalizer", **OPTIONS, **normalizer}}


def test_the_table_lists_what_a_tokenizer_does_to_characters() -> None:
    lines = unicode_table(settings()).splitlines()
    assert "R c9 65" in lines  # É becomes e
    assert "R 41 61" in lines
    assert "C 4e00 9fff" in lines
    assert any(line.startswith("P 21 ") for line in lines)
    assert any(line.startswith("D 0 8") for line in lines)
    assert "S a0 a0" in lines


def test_a_cased_tokenizer_keeps_accents_and_capitals() -> None:
    table = unicode_table(settings(lowercase=False, clean_text=False, handle_chinese_chars=False))
    assert {line[0] for line in table.splitlines()} == {"S", "P"}


def test_other_tokenizers_get_categories_and_what_their_normalizers_need() -> None:
    plain = {"normalizer": None, "pre_tokenizer": {"type": "ByteLevel"}, "model": {"type": "BPE"}, "added_tokens": []}
    lines = unicode_table(plain).splitlines()
    assert "G 41 5a Lu" in lines
    assert "L 130 69 307" in lines  # İ becomes i and a dot
    assert {line[0] for line in lines} == {"G", "L"}
    steps = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, {"type": "NFKC"}]}
    lines = unicode_table({**plain, "normalizer": steps}).splitlines()
    assert "N e9 65 301" in lines and "M 65 301 e9" in lines  # é
    assert "K fb01 66 69" in lines  # ﬁ
    assert "O 301 e6" in lines
    assert not any(line.startswith("M 2add") for line in lines), "2ADC is not composed again"
