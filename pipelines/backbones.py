"""What timm knows of a backbone: its name, its weights, which crops it takes."""

import functools
import json
import re
from importlib.util import find_spec
from pathlib import Path

from components.shared.stage.errors import UserError
from components.shared.stage.suggestions import meant

# Beginnings of names of convolutional networks that end in a global average. For others timm is
# imported, which takes 10 s of CPU.
_OF_ANY_SIZE = ("resnet", "resnest", "resnext", "seresn", "wide_resnet", "efficientnet", "convnext")
# Arguments that leave all tensors' shapes as they are.
_SHAPELESS = {"drop_rate", "drop_path_rate", "proj_drop_rate", "attn_drop_rate", "drop_block_rate"}


def check(backbone: str) -> None:
    """Refuse a backbone that timm does not know.

    Where timm is not installed, the stages are left to find out.

    Raises:
        UserError: There is none of this name, or it has no weights of that tag.
    """
    known = names()
    if not known or backbone in known:
        return
    # Imported only for what is about to be refused, and for old names that it still takes.
    from timm import is_model
    from timm.models import get_pretrained_cfg

    if not is_model(backbone):
        hint = meant(backbone, known, "see timm.list_models()")
        raise UserError(f"backbone={backbone!r}: timm has no such model: {hint}")
    try:
        get_pretrained_cfg(backbone)
    except RuntimeError as error:
        raise UserError(f"backbone={backbone!r}: timm says: {error}") from None


@functools.cache
def check_crops(backbone: str, backbone_args: str, image_size: int) -> None:
    """Refuse crops of a size that a backbone does not take; those of known families take any.

    Raises:
        UserError: It does not.
    """
    if not names() or backbone.startswith(_OF_ANY_SIZE):
        return
    from components.shared.training.models import try_crops

    try_crops(backbone, backbone_args, image_size)


def check_weights(backbone: str) -> None:
    """Refuse a backbone that timm knows no weights for; it must know the backbone.

    Raises:
        UserError: It has none.
    """
    if not names() or backbone in _with_weights():
        return
    from timm.models import get_pretrained_cfg

    if not (config := get_pretrained_cfg(backbone)) or not config.hf_hub_id:
        raise UserError(
            f"backbone={backbone}: timm has no weights for it on the hub: give a folder or "
            "hf-hub:org/name as initial_weights, or another backbone"
        )


@functools.cache
def check_shapes(backbone: str, backbone_args: str) -> None:
    """Refuse arguments with which a backbone could not take timm's weights; no memory is used.

    Raises:
        UserError: Tensors would have other shapes, or be missing.
    """
    arguments = json.loads(backbone_args)
    if arguments.keys() <= _SHAPELESS or not names():
        return
    from components.shared.training.models import shapes

    usual, own = shapes(backbone, "{}"), shapes(backbone, backbone_args)
    differ = sorted(name for name in usual.keys() | own.keys() if usual.get(name) != own.get(name))
    if differ:
        raise UserError(
            f"backbone_args={backbone_args}: {len(differ):,} of {backbone}'s tensors, such as "
            f"{differ[0]}, would not be those of its ImageNet weights: leave out what changes "
            "them, or start without initial_weights"
        )


@functools.cache
def names() -> frozenset[str]:
    """Return timm's models, without and with the tags of their weights; none if it is missing.

    They are read from its source, in 0.1 s: importing it takes 10 s of CPU.
    """
    text = _source()
    models = set(re.findall(r"^@register_model\s+def (\w+)\(", text, re.MULTILINE))
    tagged = re.findall(r"""["']((\w+)\.\w+)["']\s*:""", text)
    return frozenset(models | {name for name, model in tagged if model in models})


@functools.cache
def _with_weights() -> frozenset[str]:
    """Return models, without and with tags, that have weights on the hub; not all of them."""
    text = re.sub("#.*", "", _source())
    quoted, entry = r"""(?:'[^']*'|"[^"]*")""", r"""["']((\w+)\.\w+)["']\s*:\s*_\w*cfg\("""
    entries = re.findall(rf"""{entry}((?:[^"')]|{quoted})*?\bhf_hub_id=["'])?""", text)
    first = {model: bool(on_hub) for _, model, on_hub in reversed(entries)}
    tagged = {name for name, _, on_hub in entries if on_hub}
    return frozenset(tagged | {model for model, on_hub in first.items() if on_hub})


@functools.cache
def _source() -> str:
    """Return the source of timm's models; empty where it is not installed."""
    spec = find_spec("timm")
    if spec is None or spec.origin is None:
        return ""
    folder = Path(spec.origin).parent / "models"
    return "\n".join(path.read_text("utf-8") for path in folder.glob("*.py"))
