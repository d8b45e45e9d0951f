"""Pipelines of the toy stages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kfp import compiler, dsl

from components.shared.stage.container import Component
from toy.count import count
from toy.total import total
from toy.wait import wait

COUNT, TOTAL, WAIT = (Component(stage, target="text") for stage in (count, total, wait))


def compiled(pipeline: Callable[..., Any], path: Path) -> Path:
    """Compile a function to a file."""
    compiler.Compiler().compile(dsl.pipeline(pipeline, name="toy"), str(path))
    return path


def counting(
    name: str,
    image: str = "localhost/toy:1",
    start: Any = 0,
    size: Any = 3,
    label: Any = "a",
    twice: Any = False,
    rerun: Any = "",
) -> Any:
    """Add a task that counts."""
    return COUNT.task(
        name, image=image, rerun=rerun, start=start, size=size, label=label, twice=twice
    )


def diamond(first: int = 1, size: int = 3, label: str = "b", factor: float = 0.5) -> None:
    """Two counts, one of them with a parameter of the form, and their total."""
    left = counting("count-left", start=first, size=size)
    right = counting("count-right", label=label, twice=True)
    models = [left.outputs["numbers"], right.outputs["numbers"]]
    TOTAL.task("total", image="localhost/toy:1", rerun="", parts=models, factor=factor)
