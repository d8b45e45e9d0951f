"""The parameters that every training stage has."""

from dataclasses import dataclass
from typing import Annotated, Literal

from components.shared.stage.errors import UserError
from components.shared.stage.interface import Range, check_fields, json_object, model_name

# How a pretraining weighs an image: by the sum of its targets' weights, by this relative to the
# average image's, or like every other image.
TargetNorm = Literal["sum", "scaled", "mean"]
MOST_EPOCHS = 100_000
MOST_IMAGES = 1_000_000_000  # plans number images by int32
MOST_IN_A_BATCH = 65_536  # the largest that ImageNet has been trained well with (LAMB and LARS)
LEARNING_RATE_ENDED = (
    "continue_learning_rate=true: the initial model's schedule=cosine takes its learning rate to "
    "0: set continue_learning_rate=false, and a learning_rate"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSettings:
    """How a model is trained.

    Attributes:
        backbone: A timm model.
        backbone_args: More arguments for timm.create_model, as JSON.
        image_size: Side of the training crops, in pixels.
        smallest_crop: Smallest share of an image's area that a training crop covers.
        epochs: Epochs to train for.
        epoch_images: Images per epoch; 0 means as many as there are. Each ends with a validation.
        optimizer: The optimizer; each needs a learning rate of its own.
        learning_rate: Learning rate after the warm-up.
        schedule: How the learning rate falls: step divides it by 10 every decay_epochs, cosine
            takes it to 0 at the end of the last epoch.
        decay_epochs: Epochs between two divisions by 10; cosine ignores it.
        warmup_epochs: Epochs of linear learning-rate warm-up.
        batch_size: Images per optimizer step, over all GPUs and accumulation steps.
        accumulation_steps: Micro-batches per optimizer step; on several GPUs rounded up to a
            multiple of their number.
        weight_decay: Weight decay, of all but norms and biases.
        clip_norm: Gradients are clipped to this norm.
        ema: Decay of the weights' moving average, which is then what is validated and saved; it
            rises to this with the steps taken. 0 averages nothing.
        label_smoothing: Share of an image's weights that is spread over all classes.
        mixup: Images are mixed in pairs, by shares of Beta(mixup, mixup); 0 mixes none.
        cutmix: Boxes of one image are pasted into another, with shares of Beta(cutmix, cutmix); 0
            pastes none. With mixup as well, each is for half of the micro-batches.
        randaugment: Magnitude of timm's RandAugment; 0 leaves images as they are.
        balance: Classes are drawn by n^balance; 0 is balanced, 0.5 square root, 1 natural.
        max_repeats: How often an image may be drawn in a pass.
        window_gigabytes: Size of the window of shards that is shuffled at a time; two must fit in
            the cache if the shards are on S3.
        compile: Whether to compile the model: slow to start, then faster on a GPU.
        seed: Seed of weights, draws and augmentation.
    """

    backbone: Annotated[str, model_name] = "resnest101e"
    backbone_args: Annotated[str, json_object] = "{}"
    image_size: Annotated[int, Range(at_least=1, at_most=4_096)] = 224
    smallest_crop: Annotated[float, Range(above=0, at_most=1)] = 0.08
    epochs: Annotated[int, Range(at_least=1, at_most=MOST_EPOCHS)] = 180
    epoch_images: Annotated[int, Range(at_least=0, at_most=MOST_IMAGES)] = 1_281_167
    optimizer: Literal["sgd", "adamw", "lamb", "nadamw"] = "sgd"
    learning_rate: Annotated[float, Range(above=0, at_most=1_000)] = 0.01
    schedule: Literal["step", "cosine"] = "step"
    decay_epochs: Annotated[int, Range(at_least=1, at_most=MOST_EPOCHS)] = 90
    warmup_epochs: Annotated[float, Range(at_least=0, at_most=MOST_EPOCHS)] = 1.0
    batch_size: Annotated[int, Range(at_least=2, at_most=MOST_IN_A_BATCH)] = 256
    accumulation_steps: Annotated[int, Range(at_least=1, at_most=MOST_IN_A_BATCH)] = 8
    weight_decay: Annotated[float, Range(at_least=0, at_most=100)] = 1e-4
    clip_norm: Annotated[float, Range(above=0, at_most=1_000_000)] = 5.0
    ema: Annotated[float, Range(at_least=0, below=1)] = 0.0
    label_smoothing: Annotated[float, Range(at_least=0, below=1)] = 0.0
    mixup: Annotated[float, Range(at_least=0, at_most=100)] = 0.0
    cutmix: Annotated[float, Range(at_least=0, at_most=100)] = 0.0
    randaugment: Annotated[int, Range(at_least=0, at_most=9)] = 0
    balance: Annotated[float, Range(at_least=0, at_most=1)] = 0.0
    max_repeats: Annotated[int, Range(at_least=1, at_most=1_000_000)] = 20
    window_gigabytes: Annotated[float, Range(above=0, at_most=100_000)] = 32.0
    compile: bool = False
    seed: Annotated[int, Range(at_least=0, below=2**32)] = 0

    def __post_init__(self) -> None:
        """Refuse values that cannot train.

        Raises:
            UserError: A value is out of its range, or does not go with another.
        """
        check_fields(self)
        if self.warmup_epochs > self.epochs:
            raise UserError(
                f"warmup_epochs={self.warmup_epochs:g}: must be at most epochs={self.epochs}, or "
                "training ends before the warm-up does"
            )
        if self.batch_size % self.accumulation_steps:
            raise UserError(
                f"accumulation_steps={self.accumulation_steps}: must divide "
                f"batch_size={self.batch_size}"
            )
        if self.micro_batch_size < 2:
            raise UserError(
                f"accumulation_steps={self.accumulation_steps}: batch norm needs at least two "
                f"images per micro-batch, of batch_size={self.batch_size}"
            )

    @property
    def micro_batch_size(self) -> int:
        """The largest number of images that go through the model at a time."""
        return self.batch_size // self.accumulation_steps
