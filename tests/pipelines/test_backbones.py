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


def test_weights_are_looked_up_without_importing_timm() -> None:
    code = """
import sys
from pipelines.backbones import check_shapes, check_weights
for name in ("resnet50", "resnet50.tv_in1k", "convnext_tiny", "efficientnet_b0", "resnest101e"):
    check_weights(name)
    check_shapes(name, '{"drop_path_rate": 0.1}')
assert "timm" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_no_weights_are_promised_that_timm_has_not() -> None:
    import timm
    from timm.models import get_pretrained_cfg

    promised = backbones._with_weights() & set(timm.list_models())
    assert len(promised) > 500
    assert all(get_pretrained_cfg(name).hf_hub_id for name in promised)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["convnext_atto_rms", "resnet50_gn_nosuch"])
def test_a_backbone_without_weights_is_refused(backbone: str) -> None:
    with pytest.raises(UserError, match="timm has no weights for it on the hub: give a folder"):
        backbones.check_weights(backbone)


@pytest.mark.slow
def test_arguments_that_change_tensors_do_not_go_with_timms_weights() -> None:
    with pytest.raises(UserError, match=r"of resnet18's tensors, such as .*: leave out"):
        backbones.check_shapes("resnet18", '{"layers": [1, 1, 1, 1]}')
    backbones.check_shapes("resnet18", '{"zero_init_last": false}')
