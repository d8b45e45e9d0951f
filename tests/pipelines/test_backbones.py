import subprocess
import sys

import pytest

from components.shared.stage.errors import UserError
from pipelines import backbones


def test_known_names_are_found_without_importing_timm() -> None:
    code = """
import sys
from pipelines.backbones import check
for name in ("resnest101e", "tf_efficientnet_b4", "tf_efficientnet_b4.ns_jft_in1k"):
    check(name)
assert "timm" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_the_names_are_timms() -> None:
    import timm

    assert {name for name in backbones.names() if "." not in name} == set(timm.list_models())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("resnest101", "timm has no such model: did you mean .*resnest101e"),
        ("", "see timm.list_models"),
        ("resnet18.nosuch", "Invalid pretrained tag"),
    ],
)
def test_an_unknown_name_is_refused_with_those_that_are_near(backbone: str, message: str) -> None:
    with pytest.raises(UserError, match=f"backbone='{backbone}': .*{message}"):
        backbones.check(backbone)


@pytest.mark.slow
def test_a_name_that_timm_has_changed_is_accepted() -> None:
    backbones.check("tv_resnet34")
