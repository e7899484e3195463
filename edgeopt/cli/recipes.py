"""`edgeopt recipes`: the recipes that come with edgeopt."""

from __future__ import annotations

from edgeopt.cli.options import Format


def recipes(form: Format = "table") -> None:
    """List the recipes that come with edgeopt."""
    from edgeopt.cli.tables import show
    from edgeopt.recipe import recipe_descriptions

    show([{"recipe": name, "description": text} for name, text in recipe_descriptions().items()], form)
