import pytest

from components.shared.reports.titles import Name, candidate_title, step_title


@pytest.mark.parametrize(
    ("candidate", "title"),
    [
        ("resnet10t-none", "resnet10t, scratch"),
        ("resnext101-32x8d-wt", "resnext101-32x8d, WT"),
        ("resnet10t-lw", "resnet10t, LW"),
        ("resnext101-32x8d", "resnext101-32x8d"),
        ("resnet10t-none-longer-seed3", "resnet10t, scratch, longer, seed 3"),
        ("resnet10t-multitask-seed0", "resnet10t, multi-task, seed 0"),
        ("resnet10t-seed12", "resnet10t, seed 12"),
        ("seed2", "seed 2"),
        ("", ""),
    ],
)
def test_a_candidate_is_called_by_its_backbone_and_pretraining(candidate: str, title: str) -> None:
    assert candidate_title(candidate) == title


@pytest.mark.parametrize(
    ("step", "title"),
    [
        ("wt_pretrain", "WT pretrain"),
        ("finetune", "finetune"),
        ("finetune_again_large", "again, large"),
    ],
)
def test_a_later_finetuning_is_called_by_what_is_new_in_it(step: str, title: str) -> None:
    assert step_title(step) == title


@pytest.mark.parametrize(
    "name",
    [
        Name("resnet10t", "wt", "", None),
        Name("resnext101-32x8d", "none", "", 4),
        Name("vit-base-patch16", "multitask", "titles", None),
        Name("resnet10t", "lw", "wrong40", 12),
    ],
)
def test_a_candidates_name_tells_its_parts(name: Name) -> None:
    assert Name.parse(str(name)) == name
