"""The parameters that every training stage has."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSettings:
    """How a model is trained.

    Attributes:
        backbone: A timm model.
        backbone_args: More arguments for timm.create_model, as JSON.
        initial_weights: A folder that timm can load, local or s3://, to start from; or none.
        image_size: Side of the training crops, in pixels.
        epochs: How long to train.
        epoch_images: Images in an epoch; 0 means each image once. Validation follows every epoch.
        learning_rate: Learning rate after the warm-up.
        decay_epochs: The learning rate falls to a tenth every so many epochs.
        warmup_epochs: The learning rate rises linearly for so many epochs.
        batch_size: Images per optimizer step, all accumulation steps together.
        accumulation_steps: A batch goes through the model in so many parts.
        weight_decay: Weight decay of all but norms and biases.
        clip_norm: Largest norm of the gradient.
        balance: Classes are drawn by n^balance; 0 is balanced, 0.5 square root, 1 natural.
        max_repeats: Draw no image more often than this in a pass.
        seed: Seed of weights, draws and augmentation.
    """

    backbone: str = "resnest101e"
    backbone_args: str = "{}"
    initial_weights: str = "none"
    image_size: int = 224
    epochs: int = 180
    epoch_images: int = 1_281_167
    learning_rate: float = 0.01
    decay_epochs: int = 90
    warmup_epochs: float = 1.0
    batch_size: int = 256
    accumulation_steps: int = 8
    weight_decay: float = 1e-4
    clip_norm: float = 5.0
    balance: float = 0.0
    max_repeats: int = 20
    seed: int = 0
