"""The pipeline: its DAG and recipes, and what compiles, runs and reports them."""

import components as components  # first: see there
