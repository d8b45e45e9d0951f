from pathlib import Path

import pytest

from tests.pipelines.recipe_mutations import run


@pytest.mark.slow
def test_damaged_recipes_are_read_or_refused(tmp_path: Path) -> None:
    outcomes, _ = run(tmp_path, 400, seed=1)

    assert all(outcomes[each] for each in ("read", "read and compiled", "refused"))
