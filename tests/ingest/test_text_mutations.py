from pathlib import Path

import pytest

from tests.ingest.text_mutations import run


@pytest.mark.slow
def test_damaged_tables_and_taxonomies_are_read_or_refused(tmp_path: Path) -> None:
    outcomes = run(tmp_path, 500, seed=1)

    assert min(outcomes[outcome] for outcome in ("read", "read, with rejects", "refused")) > 20
