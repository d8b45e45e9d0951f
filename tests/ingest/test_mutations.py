from collections import Counter

import numpy as np
import pytest

from tests.ingest.mutations import check, mutated, sources


def test_whole_images_are_kept_or_stored_anew() -> None:
    for image in sum(sources().values(), []):
        assert {check(image, side) for side in (32, 512)} <= {"kept", "stored anew"}


@pytest.mark.slow
def test_training_decodes_whatever_ingest_keeps_of_damaged_images() -> None:
    random = np.random.default_rng(1)
    outcomes = Counter(
        check(content, int(random.choice([32, 512]))) for _, content in mutated(2_000, seed=1)
    )

    assert outcomes["kept"] > 100
    assert outcomes["stored anew"] > 100
    assert set(outcomes) <= {
        "kept",
        "stored anew",
        "truncated image",
        "undecodable image",
        "too many pixels",
    }
