from pathlib import Path

import pytest

from tests.ingest.archive_mutations import run


@pytest.mark.slow
def test_what_is_left_of_damaged_shards_is_read_or_refused(tmp_path: Path) -> None:
    outcomes = run(tmp_path, 500, seed=1)

    assert min(outcomes[outcome] for outcome in ("read", "read, with rejects", "refused")) > 20
