"""The images that models are evaluated on: a folder of what always goes together.

validation/          their images (ImageSet)
validation_labels/   and true labels (Targets)
test/                images without labels (ImageSet), possibly none
"""

from pathlib import Path
from typing import NamedTuple, Self

from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets

VALIDATION, LABELS, TEST = "validation", "validation_labels", "test"


class Evaluation(NamedTuple):
    """Images that no model is trained on.

    Attributes:
        images: The validation images.
        labels: Their labels, one each.
        test: The test images.
    """

    images: ImageSet
    labels: Targets
    test: ImageSet

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open a folder.

        Raises:
            UserError: Something in it is missing, or the labels are of other images.
        """
        images, labels = ImageSet.load(folder / VALIDATION), Targets.load(folder / LABELS)
        images.identity.check(labels.identity, str(folder / LABELS))
        return cls(images, labels, ImageSet.load(folder / TEST))
