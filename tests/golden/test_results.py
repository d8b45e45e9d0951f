"""Each stage's results, bit for bit: what the fingerprint of its code stands for.

Processors add up in different orders. Here all use the instructions that each of them has, in one
thread, so that the results are the same wherever the packages are those of `requirements.lock`.
"""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.images import components

GOLDEN = Path(__file__).parent / "results.yaml"
ANY_PROCESSOR = {
    "ATEN_CPU_CAPABILITY": "default",  # torch
    "MKL_CBWR": "COMPATIBLE",  # its linear algebra
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
    "OPENBLAS_CORETYPE": "Prescott",  # NumPy's and SciPy's linear algebra
    "ARROW_USER_SIMD_LEVEL": "NONE",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}
EXPLANATION = """
If the stages' fingerprints have changed as well, everybody who takes this version runs them again,
and trains again what depends on them. Should that be so, say it in CHANGELOG.md, and write the
results anew: WEBLY_UPDATE_GOLDEN=1 pytest tests/golden
If they have not, something has changed a result that must not: a package that the fingerprint
leaves out. Caches would go on serving the old results, so undo that, or move it out of there.
"""


@pytest.mark.slow
@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"),
    reason="the golden results are those of Linux on x86-64",
)
def test_every_stage_makes_the_results_that_were_reviewed(tmp_path: Path) -> None:
    environment = {name: text for name, text in os.environ.items() if name[:6] != "WEBLY_"}
    for name in ("STORE", "CHECKPOINTS", "CACHE"):
        environment[f"WEBLY_{name}"] = str(tmp_path / name)
    command = [sys.executable, "-m", "tests.golden.stages", str(tmp_path)]

    subprocess.run(command, env=environment | ANY_PROCESSOR, check=True)

    results = json.loads((tmp_path / "results.json").read_text())
    if os.environ.get("WEBLY_UPDATE_GOLDEN"):
        GOLDEN.write_text(yaml.safe_dump(results, sort_keys=False, width=1000))
    changes = [*changed(yaml.safe_load(GOLDEN.read_text()), results)]
    if changes:
        pytest.fail("\n".join([f"not as in {GOLDEN}:", *changes, EXPLANATION]), pytrace=False)


def test_every_stage_has_results_to_compare_with() -> None:
    assert {each.name for each in components()} <= yaml.safe_load(GOLDEN.read_text()).keys()


def changed(golden: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each task whose results differ: which of them, and what numbers were."""
    for task in golden | results:
        before, now = (dict(leaves(each.get(task, {}))) for each in (golden, results))
        differences = [
            name
            if isinstance(now.get(name), str)
            else f"{name} {before.get(name)} → {now.get(name)}"
            for name in before | now
            if before.get(name) != now.get(name)
        ]
        if differences:
            yield f"  {task}: {', '.join(differences)}"


def leaves(results: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in results.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{within}{name}/")
        else:
            yield f"{within}{name}", value
