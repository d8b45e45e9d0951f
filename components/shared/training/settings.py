"""The parameters that every training stage has."""

from dataclasses import dataclass

from components.shared.stage.errors import UserError


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSettings:
    """How a model is trained.

    Attributes:
        backbone: A timm model.
        backbone_args: More arguments for timm.create_model, as JSON.
        initial_weights: A folder that timm can load, local or s3://, to start from; or none.
        image_size: Side of the training crops, in pixels.
        smallest_crop: Smallest share of an image's area that a training crop covers.
        epochs: Epochs to train for.
        epoch_images: Images per epoch; 0 means as many as there are. Each ends with a validation.
        learning_rate: Learning rate after the warm-up.
        decay_epochs: The learning rate is divided by 10 every so many epochs.
        warmup_epochs: Epochs of linear learning-rate warm-up.
        batch_size: Images per optimizer step, over all GPUs and accumulation steps.
        accumulation_steps: Micro-batches per optimizer step; on several GPUs rounded up to a
            multiple of their number.
        weight_decay: Weight decay, of all but norms and biases.
        clip_norm: Gradients are clipped to this norm.
        balance: Classes are drawn by n^balance; 0 is balanced, 0.5 square root, 1 natural.
        max_repeats: How often an image may be drawn in a pass.
        window_gigabytes: Size of the window of shards that is shuffled at a time; two must fit in
            the cache if the shards are on S3.
        compile: Whether to compile the model: slow to start, then faster on a GPU.
        seed: Seed of weights, draws and augmentation.
    """

    backbone: str = "resnest101e"
    backbone_args: str = "{}"
    initial_weights: str = "none"
    image_size: int = 224
    smallest_crop: float = 0.08
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
    window_gigabytes: float = 32.0
    compile: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values that cannot train.

        Raises:
            UserError: A value is out of range.
        """
        for name in ("image_size", "epochs", "decay_epochs", "batch_size", "max_repeats"):
            self._check(name, getattr(self, name) >= 1, "must be at least 1")
        for name in ("epoch_images", "warmup_epochs", "weight_decay", "balance", "seed"):
            self._check(name, getattr(self, name) >= 0, "must not be negative")
        for name in ("learning_rate", "clip_norm", "window_gigabytes"):
            self._check(name, getattr(self, name) > 0, "must be positive")
        self._check("smallest_crop", 0 < self.smallest_crop <= 1, "must be above 0 and at most 1")
        steps = self.accumulation_steps
        divides = steps >= 1 and self.batch_size % steps == 0
        self._check("accumulation_steps", divides, f"must divide batch_size={self.batch_size}")
        large = self.batch_size >= 2 * steps
        self._check(
            "accumulation_steps", large, "batch norm needs at least two images per micro-batch"
        )

    @property
    def micro_batch_size(self) -> int:
        """The largest number of images that go through the model at a time."""
        return self.batch_size // self.accumulation_steps

    def _check(self, name: str, right: bool, remedy: str) -> None:
        if not right:
            raise UserError(f"{name}={getattr(self, name)}: {remedy}")
