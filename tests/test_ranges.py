import math
from pathlib import Path

import pytest

from components.shared.stage import cli
from components.shared.stage.errors import UserError
from components.shared.stage.interface import Argument, Range, Stage, arguments, bound
from pipelines.demo import webvision
from pipelines.steps import STEPS

STAGES = {step.component.name: step.component.stage for step in STEPS.values() if step.component}
PARAMETERS = [
    pytest.param(argument, id=f"{name}-{argument.name}")
    for name, stage in STAGES.items()
    for argument in arguments(stage)
    if argument.artifact is None
]
# Those that are no stage's: of pods, and of drawn data.
OTHERS = [
    pytest.param(argument, id=f"{name}-{argument.name}")
    for name, found in [
        *((name, step.pod) for name, step in STEPS.items()),
        ("drawn", webvision.parameters().values()),
    ]
    for argument in found
    if argument.type in (int, float, bool)
]
# What is no number, and what is one that nothing takes.
_NO_NUMBERS = (
    *("", " ", "١٢", "0x10", "1,5", "1\n", "\0", "\ud800", "true", "nan", "-inf"),
    *("9" * 5_000, "x" * 10**6, None, True, [1], {}, math.nan, math.inf, -1e300, 10**400),
    *(-(10**400), 10**5_000, "-1000000"),
)  # fmt: skip
HOSTILE: dict[type, tuple[object, ...]] = {
    int: (*_NO_NUMBERS, "99999999999999", "9" * 400, "1e5", "1.5", 1.5, 1e300),
    float: (*_NO_NUMBERS, "1e999", "9" * 300, 1e300, "1e"),
    bool: ("", "yes", "on", "1", "0", 1, 0, 1.0, None, "tru", "١", "true\n", "\0", "x" * 10**6, []),
    str: (
        "\0",
        "a\nb",
        "\x1b[31m",
        "\ud800",
        "x" * 10**6,
        "{{$}}",
        5,
        True,
        None,
        math.nan,
        [1],
        {},
    ),
}


@pytest.mark.parametrize("argument", PARAMETERS + OTHERS)
def test_every_number_has_two_bounds_that_its_default_is_in(argument: Argument) -> None:
    assert argument.default == argument.parse(argument.default)
    if argument.type in (int, float):
        (range,) = (rule for rule in argument.rules if isinstance(rule, Range))
        assert math.isfinite(max(range.at_least, range.above))
        assert math.isfinite(min(range.at_most, range.below))


@pytest.mark.parametrize("argument", PARAMETERS)
def test_a_numbers_bounds_are_in_its_help(argument: Argument) -> None:
    for rule in argument.rules:
        assert not isinstance(rule, Range) or f"{rule}".capitalize() in argument.help


@pytest.mark.parametrize("argument", PARAMETERS + OTHERS)
def test_what_no_parameter_takes_is_refused_in_a_short_line(argument: Argument) -> None:
    for value in HOSTILE[argument.type]:
        with pytest.raises(UserError) as refused:
            argument.parse(value)
        said = str(refused.value)
        assert said.startswith(f"{argument.name}=")
        assert len(said.splitlines()) == 1
        assert len(said) < 600
        assert said.isprintable()


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_a_command_with_such_a_value_ends_with_2_and_one_line(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    values = {int: "99999999999999", float: "1e999", bool: "yes", str: "\x1b[31m"}
    known = arguments(stage)
    given = [word for each in known if each.artifact for word in (f"--{each.name}", "nowhere")]
    for argument in (each for each in known if each.artifact is None):
        caplog.clear()
        with pytest.raises(SystemExit) as ended:
            cli.main(stage, [*given, f"--{argument.name}={values[argument.type]}"])
        assert ended.value.code == 2
        (line,) = caplog.messages
        assert f"{argument.name}=" in line
    assert not Path("nowhere").exists()


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
        ("finetune", {"balance": 1e9}, "must be at least 0 and at most 1"),
        ("finetune", {"batch_size": 99_999_999_999}, "must be at least 2 and at most 65,536"),
        ("finetune", {"epochs": 10**400}, r"epochs=\(an integer of about 40\d digits\): must be"),
        ("finetune", {"window_gigabytes": math.inf}, "window_gigabytes=inf: must be a finite"),
        ("finetune", {"window_gigabytes": 1e9}, "must be above 0 and at most 100,000"),
        ("finetune", {"seed": 10**22}, "must be at least 0 and below 4,294,967,296"),
        ("finetune", {"image_size": 10**9}, "must be at least 1 and at most 4,096"),
        ("finetune", {"backbone": "---"}, "backbone='---': must be the name of a timm model"),
        ("finetune", {"backbone_args": '{"a": NaN}'}, "must be a JSON object"),
        ("finetune", {"backbone_args": '{"a": 1e999}'}, "must be a JSON object"),
        ("finetune", {"backbone_args": '{"a": ' + "9" * 5_000 + "}"}, "must be a JSON object"),
        ("finetune", {"backbone_args": '{"a": ' + "[" * 9_000 + "}"}, "must be a JSON object"),
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
