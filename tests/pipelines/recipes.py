"""Which recipes tests compile: of those that differ in size alone, one."""

from collections.abc import Callable
from pathlib import Path

RECIPES = ["ablation-tricks-photos", "demo", "experiment-photos", "paper", "sample", "smoke"]
Compiled = Callable[..., Path]  # what the fixture `compiled_recipe` is
LARGEST = "ablation-backbones-photos"  # of those that a cluster can run
