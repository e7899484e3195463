"""The help text of every command as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

import click
import typer
from typer.testing import CliRunner

from edgeopt.cli.app import app

_CODES = """stdout carries the result, stderr progress. Exit codes: 0 fine; 1 a budget was missed, or could not
be decided (`--undecided pass` lets that through), or a check failed; 2 the input or this machine is wrong; 3 an internal error.
"""
_ENVIRONMENT = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}


def commands_page() -> str:
    """Return the page with what ``--help`` prints for edgeopt and for each of its commands."""
    lines = ["# Command line\n", "Written by `make format` from the help texts; do not edit.\n", _CODES]
    for words in [[], *_commands()]:
        name = " ".join(["edgeopt", *words])
        lines.append(f"## `{name}`\n\n```text\n{help_text(words)}```\n")
    return "\n".join(lines)


def _commands() -> list[list[str]]:
    """Return every command as the words behind ``edgeopt``."""
    group = typer.main.get_command(app)
    found: list[list[str]] = []
    for name, command in getattr(group, "commands", {}).items():
        found.append([name])
        found += [[name, inner] for inner in getattr(command, "commands", {})]
    return found


def help_text(words: Sequence[str]) -> str:
    """Return what ``edgeopt WORDS --help`` prints, 100 columns wide."""
    result = CliRunner().invoke(app, [*words, "--help"], prog_name="edgeopt", env=_ENVIRONMENT)
    if result.exit_code:
        raise click.ClickException(f"edgeopt {' '.join(words)} --help: {result.output}")
    return "\n".join(line.rstrip() for line in result.output.strip().splitlines()) + "\n"
