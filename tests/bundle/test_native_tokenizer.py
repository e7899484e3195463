"""Parts of a tokenizer.json that generated C++ does not read are named."""

from edgeopt.bundle.native_tokenizer import steps_of, unread_part


def test_what_the_cpp_does_not_read_is_named() -> None:
    known = {"normalizer": None, "pre_tokenizer": {"type": "ByteLevel"}, "model": {"type": "BPE"}, "post_processor": None}
    assert unread_part(known) is None
    inner = {"type": "Sequence", "pretokenizers": [{"type": "UnicodeScripts"}]}
    assert unread_part({**known, "pre_tokenizer": inner}) == "a tokenizer with UnicodeScripts"
    assert unread_part({**known, "model": {"type": "WordLevel"}}) == "a tokenizer with WordLevel"
    assert unread_part({**known, "model": {"vocab": {}}}) == "a tokenizer with a model of no stated type"
    inner = {"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "Other"}]}
    assert unread_part({**known, "post_processor": inner}) == "a tokenizer with Other"


def test_the_steps_of_a_sequence_come_one_by_one() -> None:
    inner = {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}
    given = {"type": "Sequence", "normalizers": [inner, {"type": "Strip"}]}
    assert [step["type"] for step in steps_of(given)] == ["NFC", "Lowercase", "Strip"]
    assert list(steps_of(None)) == []
