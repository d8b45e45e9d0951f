"""The data set's size and noise: the parameters that experiments vary."""

from dataclasses import dataclass
from typing import Annotated

from components.shared.stage.interface import Range, check_fields
from pipelines.demo.concepts import CONCEPTS

_ONE_OF_EACH = Range(at_least=len(CONCEPTS))
_SHARE = Range(at_least=0, at_most=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSettings:
    """What to draw. The noise is the training set's: no validation or test image depends on it.

    Attributes:
        train_images: Approximate number of training images; at least one of each concept.
        validation_images: Number of validation images, which cycle through the concepts.
        test_images: Number of test images, likewise.
        wrong_images: Share of the training images that do not show what their query asked for: half
            of them show a sibling, a third clutter, the others any other concept.
        off_topic_texts: Share of the training images whose title and description say nothing about
            what they show, and whose tags name at most the scene. Texts of clutter always do so.
        imbalance: Ratio of training images of the most frequent concept to those of the rarest,
            the others in geometric steps between; 1 makes all equally frequent.
    """

    train_images: Annotated[int, _ONE_OF_EACH] = 7_000
    validation_images: Annotated[int, _ONE_OF_EACH] = 1_000
    test_images: Annotated[int, _ONE_OF_EACH] = 300
    wrong_images: Annotated[float, _SHARE] = 0.32
    off_topic_texts: Annotated[float, _SHARE] = 0.1
    imbalance: Annotated[float, Range(at_least=1)] = 10.0

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            UserError: A value is out of its range.
        """
        check_fields(self)
