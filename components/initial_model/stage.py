"""The stage `initial_model`."""

from typing import Annotated

from components.shared.stage.interface import Location, OutputModel, model_name

_NAMED = "imagenet, hf-hub:org/name[@revision]"


def initial_model(
    model: OutputModel,
    *,
    weights: Annotated[str, Location(other="imagenet|hf-hub:.*", named=_NAMED)] = "imagenet",
    backbone: Annotated[str, model_name] = "resnet50",
) -> None:
    """Fetch the weights that trainings start from, check them, and keep them.

    Args:
        model: The model, as they are: with the head that it came with.
        weights: imagenet takes timm's for the backbone, hf-hub:org/name[@revision] a repository of
            Hugging Face's hub; or a folder that timm can load, local or s3://.
        backbone: A timm model; with a tag, imagenet takes the weights of that tag.
    """
    from components.initial_model.record import described
    from components.initial_model.sources import fetched
    from components.shared.stage import metadata
    from components.shared.stage.errors import UserError
    from components.shared.training import initial_weights, models

    with fetched(weights, backbone) as found:
        try:
            initial_weights.check(str(found.folder), backbone)
            network = models.as_given(found.folder)
        except UserError as error:
            # The folder is a temporary one.
            reason = str(error).removeprefix(str(found.folder)).lstrip(":/ ")
            raise UserError(f"weights={weights}: {reason}") from error
        record = described(found, weights, backbone, network)
        models.save(model, network, record)
    shown = {name: str(record.settings[name]) for name in ("weights", "source", "commit")}
    metadata.write(model, {"backbone": backbone, **shown})
