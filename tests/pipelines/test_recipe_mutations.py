from pathlib import Path

import pytest

from tests.pipelines.recipe_mutations import run


@pytest.mark.slow
def test_damaged_recipes_are_read_or_refused(tmp_path: Path) -> None:
    outcomes, _ = run(tmp_path, 1_200, seed=1)

    assert min(outcomes[each] for each in ("read", "read and compiled", "refused")) > 5
