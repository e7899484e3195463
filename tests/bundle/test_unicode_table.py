"""The table for programs without a Unicode library: what it says of some characters."""

from edgeopt.bundle.unicode_table import unicode_table

OPTIONS = {"clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}


def test_the_table_lists_what_a_tokenizer_does_to_characters() -> None:
    lines = unicode_table(OPTIONS).splitlines()
    assert "R c9 65" in lines  # É becomes e
    assert "R 41 61" in lines
    assert "C 4e00 9fff" in lines
    assert any(line.startswith("P 21 ") for line in lines)
    assert any(line.startswith("D 0 8") for line in lines)
    assert "S a0 a0" in lines


def test_a_cased_tokenizer_keeps_accents_and_capitals() -> None:
    table = unicode_table({**OPTIONS, "lowercase": False, "clean_text": False, "handle_chinese_chars": False})
    assert {line[0] for line in table.splitlines()} == {"S", "P"}
