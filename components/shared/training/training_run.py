"""What the training stages have in common: train from the last checkpoint, write the outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from components.shared.data.image_set import ImageSet
from components.shared.data.predictions import History, Training
from components.shared.data.predictions import write as write_predictions
from components.shared.data.targets import Targets
from components.shared.stage import metadata, ranks
from components.shared.storage import resume
from components.shared.storage.checkpoints import Checkpoints
from components.shared.training import models
from components.shared.training.loop import train
from components.shared.training.losses import TargetsLoss
from components.shared.training.models import Record
from components.shared.training.report import page
from components.shared.training.settings import TrainingSettings
from components.shared.training.validation import LabelValidation, Validation

# Keys of a curve's entry that say how far the training is, not how good.
_PROGRESS = ("epoch", "images", "seconds")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingRun:
    """A training; a killed one is found again by its stage, inputs and parameters.

    Attributes:
        stage: The stage's name.
        inputs: The stage's input artifacts, but for the initial model.
        settings: How to train.
        parameters: The stage's other parameters that the weights depend on.
        what: The training's name in the model's lineage; by default the stage's.
        initial_model: The model that the training starts from, if it starts from one.
    """

    stage: str
    inputs: Sequence[Path]
    settings: TrainingSettings
    parameters: Mapping[str, object]
    what: str = ""
    initial_model: Path | None = None

    def fit(
        self,
        model: nn.Module,
        images: ImageSet,
        targets: Targets,
        loss: TargetsLoss,
        validation: Validation,
        *,
        balance_on: Literal["any", "strongest"],
        left_out: NDArray[np.int64] | Sequence[int] = (),
        external: LabelValidation | None = None,
    ) -> "TrainedModel":
        """Train a model in place, all ranks together, from the last checkpoint; see `train`.

        At its end `external` evaluates it once.
        """
        checkpoints = Checkpoints(
            resume.folder(
                self.stage,
                [*self.inputs, self.initial_model],
                **asdict(self.settings),
                **self.parameters,
            )
        )
        curve = train(
            model,
            images,
            targets,
            loss,
            validation,
            self.settings,
            checkpoints,
            balance_on=balance_on,
            left_out=left_out,
        )
        record = self._record(targets, curve, validation.score)
        if external:
            found = {f"external_{name}": value for name, value in external(model).items()}
            record = replace(record, metrics=record.metrics | found)
        return TrainedModel(model, record, validation, checkpoints, external)

    def _record(self, targets: Targets, curve: list[dict[str, float]], score: str) -> Record:
        last, settings = curve[-1], self.settings
        initial = models.read_record(self.initial_model) if self.initial_model else None
        earlier, chosen = (initial.lineage, initial.chosen) if initial else ([], ())
        images, seconds = int(last["images"]), last["seconds"]
        what = f"{self.what or self.stage} {settings.image_size} px"
        cost = {"images_seen": images, "seconds": seconds, "images_per_second": images / seconds}
        return Record(
            stage=self.stage,
            backbone=settings.backbone,
            image_size=settings.image_size,
            names=targets.names,
            titles=targets.titles,
            score=last[score],
            metrics={name: last[name] for name in last if name not in _PROGRESS} | cost,
            last_learning_rate=last["learning_rate"],
            curve=curve,
            settings=asdict(settings),
            lineage=[*earlier, Training(what, images, round(seconds, 1))],
            chosen=tuple(dict.fromkeys([*chosen, *targets.chosen])),
        )


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The result of a training.

    Attributes:
        model: The model.
        record: Its record.
        validation: Its last validation.
        checkpoints: The training's checkpoints.
        external: Its evaluation on an external validation set.
    """

    model: nn.Module
    record: Record
    validation: Validation
    checkpoints: Checkpoints
    external: LabelValidation | None = None

    def save(self, model: Path, report: Path, predictions: Path | None = None) -> None:
        """Write a stage's outputs, and remove the checkpoints, on rank 0.

        Args:
            model: Where the model goes.
            report: Where the report goes.
            predictions: Where the predictions go, for a classifier validated on labels.
        """
        if ranks.rank() > 0:
            return
        models.save(model, self.model, self.record)
        metadata.write(model, self.record.metadata())
        if predictions:
            assert isinstance(self.validation, LabelValidation)
            history = History(self.record.lineage, self.record.curve, self.record.chosen)
            external = self.external.predicted if self.external else None
            write_predictions(predictions, *self.validation.predicted, history, external)
        page(self.record, self.validation, self.external).write(report)
        self.checkpoints.remove()
