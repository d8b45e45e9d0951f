"""What stages import before their first work: seconds of a core, whenever one starts."""

import pytest

from tests.imports import first_imports, imported

TRAINING = ("finetune", "lw_pretrain", "multitask_pretrain", "wt_pretrain")
INFERENCE = ("audit", "ensemble", "pseudo_label")
TEXT = ("compare", "ingest", "tagging", "weighting")
NOBODYS = {"boto3", "kfp", "onnx", "pandas", "scipy.stats", "sklearn", "transformers"}


@pytest.mark.slow
@pytest.mark.parametrize("stage", [*TRAINING, *INFERENCE, *TEXT])
def test_a_stage_imports_nothing_large_that_it_does_not_need(stage: str) -> None:
    others = {"torch", "timm", "torchvision"} if stage in TEXT else {"nltk"}

    assert imported(first_imports(stage), NOBODYS | others) == "set()"


def test_nltk_leaves_the_modules_that_it_does_without_to_others() -> None:
    code = "from components.shared.data.bare_nltk import nltk"

    assert imported(code, {"scipy.stats", "sklearn"}) == "set()"
    assert imported(f"{code}; import scipy.stats", {"scipy.stats"}) == "{'scipy.stats'}"
