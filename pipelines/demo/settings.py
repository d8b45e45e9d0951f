"""The data set's size and noise: the parameters that experiments vary."""

from dataclasses import dataclass
from typing import Annotated

from components.shared.stage.errors import UserError
from components.shared.stage.interface import Range, check_fields
from pipelines.demo.concepts import CONCEPTS, PATTERNS

_ONE_OF_EACH = Range(at_least=len(CONCEPTS), at_most=10_000_000)
_SHARE = Range(at_least=0, at_most=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSettings:
    """What to draw. The noise is the training set's: no validation or test image depends on it.

    Attributes:
        kinds: Number of kinds that each of the 20 concepts has, which are the classes: siblings
            differ in pattern and colour, and texts name the kind or only the concept. With 1 the
            concepts themselves are the classes.
        train_images: Approximate number of training images; at least one of each class.
        validation_images: Number of validation images, which cycle through the classes.
        test_images: Number of test images, likewise.
        wrong_images: Share of the training images that do not show what their query asked for: half
            of them show a sibling, a third clutter, the others any other class.
        off_topic_texts: Share of the training images whose title and description say nothing about
            what they show, and whose tags name at most the scene. Texts of clutter always do so.
        imbalance: Ratio of training images of the most frequent class to those of the rarest,
            the others in geometric steps between; 1 makes all equally frequent.
    """

    kinds: Annotated[int, Range(at_least=1, at_most=len(PATTERNS))] = 1
    train_images: Annotated[int, _ONE_OF_EACH] = 7_000
    validation_images: Annotated[int, _ONE_OF_EACH] = 1_000
    test_images: Annotated[int, _ONE_OF_EACH] = 300
    wrong_images: Annotated[float, _SHARE] = 0.32
    off_topic_texts: Annotated[float, _SHARE] = 0.1
    imbalance: Annotated[float, Range(at_least=1, at_most=1_000_000)] = 10.0

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            UserError: A value is out of its range, or a class has no image.
        """
        check_fields(self)
        least = self.kinds * len(CONCEPTS)
        for name in ("train_images", "validation_images", "test_images"):
            if (images := getattr(self, name)) < least:
                raise UserError(f"{name}={images}: must be at least {least}, one of each class")
