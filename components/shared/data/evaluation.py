"""The images that models are evaluated on: a folder of what always goes together.

validation/          their images (ImageSet)
validation_labels/   and true labels (Targets)
test/                images without labels (ImageSet), possibly none

and, only if there is an external validation set, which never chooses anything:

external/            another data set's images of the same classes (ImageSet)
external_labels/     and true labels (Targets)
external_title.txt   what reports call them
"""

from pathlib import Path
from typing import NamedTuple, Self

from components.shared.data.image_set import ImageSet
from components.shared.data.targets import Targets
from components.shared.storage import formats

VALIDATION, LABELS, TEST = "validation", "validation_labels", "test"
EXTERNAL, EXTERNAL_LABELS, _TITLE = "external", "external_labels", "external_title.txt"


class External(NamedTuple):
    """Another data set's images of the same classes, for evaluation alone.

    Attributes:
        title: What they are called.
        images: The images.
        labels: Their labels, one each.
    """

    title: str
    images: ImageSet
    labels: Targets

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Open them in an `Evaluation`; None if it has none.

        Raises:
            UserError: Something is missing, or the labels are of other images.
        """
        if not (folder / EXTERNAL).exists():
            return None
        with formats.guarded(folder / _TITLE):
            title = (folder / _TITLE).read_text(encoding="utf-8")
            if not title or "\0" in title:
                raise ValueError("no text")
        return cls(title, *_labelled(folder / EXTERNAL, folder / EXTERNAL_LABELS))


class Evaluation(NamedTuple):
    """Images that no model is trained on.

    Attributes:
        images: The validation images.
        labels: Their labels, one each.
        test: The test images.
        external: Another data set's images.
    """

    images: ImageSet
    labels: Targets
    test: ImageSet
    external: External | None

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open a folder.

        Raises:
            UserError: Something in it is missing, or the labels are of other images.
        """
        images, labels = _labelled(folder / VALIDATION, folder / LABELS)
        return cls(images, labels, ImageSet.load(folder / TEST), External.load(folder))


def write_title(folder: Path, title: str) -> None:
    """Write what an external validation set is called."""
    (folder / _TITLE).write_text(title, encoding="utf-8")


def _labelled(images: Path, labels: Path) -> tuple[ImageSet, Targets]:
    found, given = ImageSet.load(images), Targets.load(labels)
    found.identity.check(given.identity, str(labels))
    return found, given
