import pytest

from components.shared.stage.suggestions import meant

FIELDS = ["finetune_epochs", "finetune_large_epochs", "finetune_learning_rate", "finetune_seed"]


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("finetune_epoch", "finetune_epochs"),
        ("Finetune_Epochs", "finetune_epochs"),
        ("finetune_large_epoch", "finetune_large_epochs"),
        ("finetun_seed", "finetune_seed"),
        ("finetune_lr", "finetune_learning_rate"),
    ],
)
def test_the_likest_name_is_offered_first(wrong: str, near: str) -> None:
    assert meant(wrong, FIELDS).startswith(f"did you mean {near}")


@pytest.mark.parametrize("wrong", ["finetune_x", "", 7, "zebra", 10**6 * "finetune_", [1]])
def test_where_none_is_like_it_all_are_listed(wrong: object) -> None:
    assert meant(wrong, ["finetune_epochs", "demo"]) == "there are finetune_epochs, demo"


def test_of_very_many_names_some_are_listed() -> None:
    said = meant("zebra", [f"number{i}" for i in range(1_000)])

    assert said.startswith("there are number") and said.endswith("… (1000 in all)")
    assert said.count(",") == 60


def test_a_transposed_recipe_is_recognised_and_no_other_is_offered() -> None:
    assert meant("dmeo", ["paper", "demo", "smoke", "sample"]) == "did you mean demo?"
