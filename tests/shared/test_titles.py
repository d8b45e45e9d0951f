import pytest

from components.shared.titles import candidate_title, step_title


@pytest.mark.parametrize(
    ("candidate", "title"),
    [
        ("resnet10t-none", "resnet10t, scratch"),
        ("resnext101-32x8d-wt", "resnext101-32x8d, WT"),
        ("resnet10t-lw", "resnet10t, LW"),
        ("resnext101-32x8d", "resnext101-32x8d"),
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
