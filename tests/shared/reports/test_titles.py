import pytest

from components.shared.reports.titles import Name
from pipelines.steps import PRETRAINING_TITLES


@pytest.mark.parametrize(
    ("candidate", "name", "title"),
    [
        (Name("resnet10t", "none"), "resnet10t-none", "resnet10t, scratch"),
        (Name("resnext101-32x8d", "wt"), "resnext101-32x8d-wt", "resnext101-32x8d, WT"),
        (Name("resnet10t", "lw"), "resnet10t-lw", "resnet10t, LW"),
        (Name("resnext101-32x8d"), "resnext101-32x8d", "resnext101-32x8d"),
        (
            Name("resnet10t", "none", "longer", 3),
            "resnet10t-none-longer-seed3",
            "resnet10t, scratch, longer, seed 3",
        ),
        (
            Name("resnet10t", "multitask", seed=0),
            "resnet10t-multitask-seed0",
            "resnet10t, multi-task, seed 0",
        ),
        (Name("resnet10t", seed=12), "resnet10t-seed12", "resnet10t, seed 12"),
        (Name(seed=2), "seed2", "seed 2"),
        (Name(), "", ""),
    ],
)
def test_a_candidate_is_called_by_its_parts_and_the_pretrainings_title(
    candidate: Name, name: str, title: str
) -> None:
    assert str(candidate) == name
    assert candidate.title(PRETRAINING_TITLES) == title
    assert Name(**candidate.parts()) == candidate
