"""How commands are told a recipe: apart from `recipe`, which takes long to import."""

import argparse


def add_recipe(parser: argparse.ArgumentParser, default: str | None) -> None:
    """Add `--recipe` and `--set`, which `recipe.load` takes, to a command."""
    parser.add_argument("--recipe", default=default, help="a recipe's name or path")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="STEP.PARAMETER=VALUE",
        help="a value that takes precedence over the recipe's; see pipelines/recipes/README.md",
    )
