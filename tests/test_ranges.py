import math

import pytest

from components.shared.stage.errors import UserError
from components.shared.stage.interface import Argument, Range, arguments, bound
from pipelines.steps import STEPS

STAGES = {step.component.name: step.component.stage for step in STEPS.values() if step.component}
PARAMETERS = [
    pytest.param(argument, id=f"{name}-{argument.name}")
    for name, stage in STAGES.items()
    for argument in arguments(stage)
    if argument.artifact is None
]


@pytest.mark.parametrize("argument", PARAMETERS)
def test_every_number_has_a_range_that_its_default_is_in(argument: Argument) -> None:
    assert argument.default == argument.parse(argument.default)
    if argument.type in (int, float):
        assert any(isinstance(rule, Range) for rule in argument.rules)
        for nonsense in (-1e6, math.nan, math.inf):
            with pytest.raises(UserError, match=f"{argument.name}="):
                argument.parse(nonsense)


@pytest.mark.parametrize(
    ("stage", "values", "message"),
    [
        ("ingest", {"dataset": ""}, "dataset='': must be a folder, or s3://"),
        ("ingest", {"validation_share": 1}, "must be at least 0 and below 1"),
        ("ingest", {"seed": 2**53}, "seed=9007199254740992: must be"),
        ("tagging", {"max_share": 5}, "must be above 0 and at most 1"),
        ("tagging", {"max_keywords": 0}, "must be at least 1"),
        ("weighting", {"similarity": "embedding"}, "needs a model: set embedding_model"),
        ("weighting", {"fallback_weight": -0.1}, "must be at least 0 and at most 1"),
        ("weighting", {"label_weight": 2}, "must be at least 0 and at most 1"),
        ("weighting", {"sharpness": 0}, "must be above 0 and at most 10"),
        ("multitask_pretrain", {"concepts_weight": 0}, "must be above 0"),
        ("audit", {"folds": 1}, "folds=1: must be at least 2"),
        ("audit", {"text_floor": 0}, "must be above 0"),
        ("finetune", {"epochs": -3}, "epochs=-3: must be at least 1"),
        ("finetune", {"balance": 5}, "must be at least 0 and at most 1"),
        ("finetune", {"batch_size": 100}, "must divide batch_size=100"),
        ("finetune", {"warmup_epochs": 200}, "must be at most epochs=180"),
        ("finetune", {"backbone_args": "{"}, "must be a JSON object"),
        ("pseudo_label", {"keep_share": 0}, "must be above 0 and at most 1"),
        ("pseudo_label", {"label_share": 1}, "must be at least 0 and below 1"),
        ("pseudo_label", {"sharpness": 11}, "must be above 0 and at most 10"),
        ("pseudo_label", {"text_floor": 0}, "must be above 0"),
        ("pseudo_label", {"top_k": 10**9}, "must be at least 1 and at most 100"),
        ("pseudo_label", {"num_teachers": 0}, "must be at least 1"),
        ("ensemble", {"batch_size": 0}, "must be at least 1"),
    ],
)
def test_a_stage_refuses_nonsense_before_it_reads_anything(
    stage: str, values: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        bound(STAGES[stage], values)
