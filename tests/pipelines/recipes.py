"""Which recipes tests compile: of those that differ in size alone, one."""

RECIPES = ["ablation-tricks-photos", "demo", "experiment-photos", "paper", "sample", "smoke"]
LARGEST = "ablation-backbones-photos"  # of those that a cluster can run
