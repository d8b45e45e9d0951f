"""Whether timm knows a backbone."""

import functools
import re
from importlib.util import find_spec
from pathlib import Path

from components.shared.stage.errors import UserError
from components.shared.stage.suggestions import meant

# Beginnings of names of convolutional networks that end in a global average. For others timm is
# imported, which takes 10 s of CPU.
_OF_ANY_SIZE = ("resnet", "resnest", "resnext", "seresn", "wide_resnet", "efficientnet", "convnext")


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


@functools.cache
def names() -> frozenset[str]:
    """Return timm's models, without and with the tags of their weights; none if it is missing.

    They are read from its source, in 0.1 s: importing it takes 10 s of CPU.
    """
    spec = find_spec("timm")
    if spec is None or spec.origin is None:
        return frozenset()
    folder = Path(spec.origin).parent / "models"
    text = "\n".join(path.read_text("utf-8") for path in folder.glob("*.py"))
    models = set(re.findall(r"^@register_model\s+def (\w+)\(", text, re.MULTILINE))
    tagged = re.findall(r"""["']((\w+)\.\w+)["']\s*:""", text)
    return frozenset(models | {name for name, model in tagged if model in models})
