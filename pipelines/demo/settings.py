"""The data set's size and noise: the parameters that experiments vary."""

from dataclasses import dataclass

from components.shared.stage.errors import UserError
from pipelines.demo.concepts import CONCEPTS


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

    train_images: int = 7_000
    validation_images: int = 1_000
    test_images: int = 300
    wrong_images: float = 0.32
    off_topic_texts: float = 0.1
    imbalance: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn.

        Raises:
            UserError: A value is out of its range.
        """
        for name in ("train_images", "validation_images", "test_images"):
            enough = getattr(self, name) >= len(CONCEPTS)
            self._check(name, enough, f"must be at least {len(CONCEPTS)}, one of each concept")
        for name in ("wrong_images", "off_topic_texts"):
            self._check(name, 0 <= getattr(self, name) <= 1, "must be from 0 to 1")
        self._check("imbalance", self.imbalance >= 1, "must be at least 1, which is a balanced set")

    def _check(self, name: str, right: bool, remedy: str) -> None:
        if not right:
            raise UserError(f"{name}={getattr(self, name)}: {remedy}")
