"""Licences as folders state them: cards, configurations, licence files, and what is not a model's licence."""

from pathlib import Path

import pytest

from edgeopt.bundle.licence import licence_of, recognised

MIT = "The MIT License\n\nPermission is hereby granted, free of charge, to any person\nobtaining a copy of this software"
BSD = "Redistribution and use in source and binary forms, with or without modification"


def test_a_card_s_front_matter_names_the_licence_by_its_identifier(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\ntags: [x]\nlicense: apache-2.0\n---\n# A model\nlicense: mit\n", encoding="utf-8")
    (tmp_path / "LICENSE").write_text(MIT, encoding="utf-8")
    found = licence_of(tmp_path)
    assert found is not None
    assert (found.name, found.stated_in.name, found.text) == ("Apache-2.0", "README.md", tmp_path / "LICENSE")


def test_a_licence_of_its_own_is_named_as_the_card_names_it(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: other\nlicense_name: gemma\n---\n", encoding="utf-8")
    found = licence_of(tmp_path)
    assert found is not None and found.name == "gemma"


def test_a_licence_file_alone_is_recognised_unless_the_folder_is_a_project(tmp_path: Path) -> None:
    assert licence_of(tmp_path) is None
    (tmp_path / "LICENSE.txt").write_text(MIT, encoding="utf-8")
    found = licence_of(tmp_path)
    assert found is not None and (found.name, found.text) == ("MIT", tmp_path / "LICENSE.txt")
    (tmp_path / "pyproject.toml").write_text("", encoding="utf-8")
    assert licence_of(tmp_path) is None


def test_a_configuration_may_name_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"license": "cc-by-4.0"}', encoding="utf-8")
    found = licence_of(tmp_path)
    assert found is not None and found.name == "CC-BY-4.0"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (MIT, "MIT"),
        (BSD, "BSD-2-Clause"),
        (BSD + " … Neither the name of the copyright holder", "BSD-3-Clause"),
        ("Apache License\n   Version 2.0, January 2004", "Apache-2.0"),
        ("GNU LESSER GENERAL PUBLIC LICENSE\nVersion 2.1", "LGPL-2.1-only"),
        ("GNU GENERAL PUBLIC LICENSE Version 3, 29 June 2007", "GPL-3.0-only"),
        ("Notes on datasets", None),
        ("", None),
    ],
)
def test_a_text_is_recognised(text: str, name: str | None) -> None:
    assert recognised(text) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (
            "Mozilla Public License Version 2.0: the GNU Affero General Public License, Version 3.0, or any later version",
            "MPL-2.0",
        ),
        ("GNU LESSER GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007", "LGPL-3.0-only"),
        ("GNU LIBRARY GENERAL PUBLIC LICENSE\nVersion 2\n the ordinary GNU General Public License, version 2", "LGPL-2.0-only"),
        ("GNU AFFERO GENERAL PUBLIC LICENSE\nVersion 3\n the GNU General Public License, version 3", "AGPL-3.0-only"),
        (f"{BSD}. Neither the name of the author", "BSD-3-Clause"),
    ],
)
def test_the_licence_that_comes_first_counts_and_not_those_that_it_names(text: str, name: str) -> None:
    assert recognised(text) == name
