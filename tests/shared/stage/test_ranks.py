import pytest

from components.shared.stage import ranks
from components.shared.stage.errors import UserError

PLACE = {
    "PET_NNODES": "2",
    "PET_NODE_RANK": "1",
    "PET_MASTER_ADDR": "node-0.job",
    "PET_MASTER_PORT": "29500",
}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("PET_NNODES", "x", "PET_NNODES='x': must be an integer"),
        ("PET_NNODES", "0", "PET_NNODES=0: must be at least 1 and at most 9,999"),
        ("PET_NNODES", "9" * 400, "PET_NNODES='999.*': must be an integer"),
        ("PET_NODE_RANK", "2", "PET_NODE_RANK=2: must be at least 0 and below 2"),
        ("PET_NODE_RANK", "", "PET_NODE_RANK is not set, but PET_NNODES=2"),
        ("PET_MASTER_PORT", "http", "PET_MASTER_PORT='http': must be an integer"),
        ("PET_MASTER_PORT", "70000", "PET_MASTER_PORT=70000: must be at least 1 and at most"),
        ("PET_MASTER_ADDR", "a b", "PET_MASTER_ADDR='a b': must be the name or address of a host"),
        ("PET_MASTER_ADDR", "", "PET_MASTER_ADDR is not set, but PET_NNODES=2"),
    ],
)
def test_a_place_among_nodes_that_cannot_be_is_named(
    name: str, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in {**PLACE, name: text}.items():
        monkeypatch.setenv(variable, value)

    with pytest.raises(UserError, match=message):
        ranks.launch()
