"""How commands are told a recipe: apart from `recipe`, which takes long to import."""

import argparse
from typing import Any


def add_recipe(parser: argparse.ArgumentParser, **settings: Any) -> None:
    """Add `--recipe`, with settings such as its default, and `--set` to a command."""
    parser.add_argument("--recipe", help="a recipe's name or path", **settings)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="STEP.PARAMETER=VALUE",
        help="a value that takes precedence over the recipe's; see pipelines/recipes/README.md",
    )
