"""Compile a recipe to the file that Kubeflow Pipelines runs.

python -m pipelines.compile --recipe paper --output pretraining.yaml
"""

import argparse
import inspect
import logging
import sys
from pathlib import Path
from typing import Any

from kfp import compiler, dsl

from components.shared.interface import UserError
from pipelines.pretraining import pretraining
from pipelines.recipe import Recipe, load

logger = logging.getLogger(__name__)
# Fields of every form; where training tasks go is the same for all of them.
_PLACEMENT: dict[str, Any] = {
    "gpu_type": "nvidia.com/gpu",
    "gpu_node_selector": {},
    "gpu_tolerations": [],
}


def compile_recipe(recipe: Recipe, path: Path) -> None:
    """Compile a recipe; its form becomes the pipeline's signature.

    Args:
        recipe: What to compile.
        path: The YAML file to write.
    """
    fields = {name: field.default for name, field in recipe.fields().items()} | _PLACEMENT

    def pipeline(*channels: object) -> None:
        pretraining(recipe, dict(zip(fields, channels, strict=True)))

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [
        inspect.Parameter(name, kind, default=default, annotation=type(default))
        for name, default in fields.items()
    ]
    pipeline.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    compiled = dsl.pipeline(pipeline, name=recipe.name, description=recipe.description)
    path.parent.mkdir(parents=True, exist_ok=True)
    compiler.Compiler().compile(compiled, str(path))


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.compile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--recipe", default="paper", help="a recipe, or the path of one")
    parser.add_argument("--output", type=Path, default=Path("pretraining.yaml"))
    given = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    try:
        compile_recipe(load(given.recipe), given.output)
    except UserError as error:
        logger.error("%s", error)
        sys.exit(2)
    logger.info("%s", given.output)


if __name__ == "__main__":
    main()
