"""Untrusted names in every format: nothing is executed, nothing breaks the form, and what is printable stays as it is."""

from __future__ import annotations

import json
import subprocess
import xml.etree.ElementTree as ET

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgeopt.escaping import (
    annotation,
    annotation_property,
    json_text,
    markdown,
    markdown_code,
    markdown_table,
    one_line,
    shell_word,
    xml_text,
)

_ANY = st.text(st.characters(codec=None))  # lone surrogates, too: file names that are not UTF-8
_EVIL = "a\x1b]0;title\x07\r\n::error::injected\x9b31m\u202e\ud800\x00"


@given(_ANY)
@example(_EVIL)
def test_a_line_is_one_line_that_a_terminal_takes_as_text(text: str) -> None:
    assert one_line(text).isprintable()
    one_line(text).encode("utf-8")


@pytest.mark.parametrize("name", ["/model/layers.0/conv::Conv_3", "größe", "卷积", "a b", "a#[0]", "x:y", "#1", "a\\b"])
def test_usual_names_stay_as_they_are(name: str) -> None:
    assert one_line(name) == name


def test_escapes_are_told_apart_from_each_other() -> None:
    assert one_line("a\nb") == "a\\nb"
    assert one_line("\x1b[31m") == "\\x1b[31m"
    assert one_line("\u202egpj") == "\\u202egpj"


@pytest.mark.parametrize("text", ["::error::x", "  ::set-output name=a::b", "::stop-commands::t"])
def test_github_reads_no_command_where_a_line_begins(text: str) -> None:
    assert not one_line(text).lstrip().startswith("::")


@pytest.mark.parametrize(
    "text", ["##[error]x", "a ##[group]b", "see ##vso[task.setvariable]x", "##teamcity[buildStop]", "###[x]"]
)
def test_no_other_service_reads_a_command_anywhere(text: str) -> None:
    for shown in (one_line(text), json_text([text]), xml_text(text), markdown(text)):
        assert not any(command in shown for command in ("##[", "##vso[", "##teamcity["))
    assert json.loads(json_text([text])) == [text]


@given(_ANY)
@example(_EVIL)
def test_json_reads_back_and_holds_nothing_to_obey(text: str) -> None:
    shown = json_text({text: [text]})
    assert json.loads(shown) == {text: [text]}
    assert shown.replace("\n", "").isprintable()


@given(_ANY)
@example(_EVIL + "]]>\ufffe<&\"'")
def test_xml_stays_well_formed(text: str) -> None:
    element = ET.Element("case", name=xml_text(text))
    element.text = xml_text(text)
    read = ET.fromstring(ET.tostring(element, encoding="unicode"))
    assert read.get("name") == read.text == (xml_text(text) or None) or (read.text is None and not text)


@given(st.lists(st.tuples(_ANY, _ANY), max_size=4))
def test_a_markdown_table_has_one_line_per_row_and_no_cell_more(rows: list[tuple[str, str]]) -> None:
    lines = list(markdown_table(["na|me", "x"], rows))
    assert len(lines) == len(rows) + 2
    for line in lines:
        assert line.replace("\\|", "").count("|") == 3 or line.replace("\\\\", "").replace("\\|", "").count("|") == 3
        assert ("\n" not in line and "<" not in line.replace("\\<", "<")) or "&lt;" in line


def test_markdown_shows_markup_as_text() -> None:
    assert markdown("<img src=x> [a](b) `c` | d\n# e") == r"&lt;img src=x&gt; \[a\](b) \`c\` \| d\\n\# e"
    assert markdown_code("a`b|c\n") == "`a'b/c\\n`"


@given(_ANY)
@example(_EVIL)
def test_an_annotation_is_one_command(text: str) -> None:
    assert annotation(text).isprintable()
    title = annotation_property(text)
    assert title.isprintable() and ":" not in title and "," not in title
    assert "%" not in title.replace("%25", "").replace("%3A", "").replace("%2C", "").replace("%0A", "")


@pytest.mark.parametrize("name", ["Conv_3", "a b", "it's", "$(touch x)", "a\nb\x1b[31m'\\", "größe\t", "--exclude"])
def test_a_word_for_the_shell_comes_back_from_it(name: str) -> None:
    word = shell_word(name)
    assert word.isprintable()
    done = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert done.stdout.decode() == name


def test_numbers_that_json_does_not_have_become_null() -> None:
    found = json_text({"db": float("inf"), "rows": [(1.5, float("nan"))], "true": True})
    assert json.loads(found, parse_constant=pytest.fail) == {"db": None, "rows": [[1.5, None]], "true": True}
