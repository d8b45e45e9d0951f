"""Every stage on a small data set: `python -m tests.golden.stages FOLDER` writes what they make.

A stage gets what its pod gets, KFP's ExecutorInput, and takes what the stages before it have made.
A training takes ten steps.
"""

import importlib
import json
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nltk
import torch

from components.shared.reports.titles import Name
from components.shared.stage.interface import arguments
from pipelines.demo import webvision
from pipelines.demo.settings import DataSettings
from pipelines.tasks import Task, described
from tests.golden.digests import digests, numbers

DATA = DataSettings(train_images=540, validation_images=40, test_images=20)
# In ten steps: a warm-up, a decay, gradients to clip, dropout, micro-batches, windows, repeats.
TRAINING = {
    "backbone": "resnet10t",
    "backbone_args": json.dumps(
        {"layers": [1, 1, 1, 1], "channels": [8, 8, 16, 24], "stem_width": 8, "drop_rate": 0.2}
    ),
    "image_size": 20,
    "smallest_crop": 0.3,
    "epochs": 2,
    "epoch_images": 160,
    "learning_rate": 0.02,
    "decay_epochs": 1,
    "warmup_epochs": 0.5,
    "batch_size": 32,
    "accumulation_steps": 2,
    "clip_norm": 2.0,
    "balance": 0.5,
    "max_repeats": 2,
    "window_gigabytes": 1e-4,
    "seed": 3,
}
_FOR_PEOPLE = ("report", "summary")


def main(folder: Path) -> None:
    """Draw the data set, run the stages, and write `results.json`, by task, output and file.

    Beside it, `requests.json` has what each of them got.
    """
    # They choose by the processor in which order to add, and no variable tells them not to.
    torch.backends.mkldnn.set_flags(False)
    torch.backends.nnpack.set_flags(False)
    nltk.data.path.clear()  # nor does a WordNet that this machine may have
    data = folder / "data"
    webvision.write(data, DATA)
    (data / "demo.json").unlink()  # holds a digest of the code that draws
    run = Runner(folder)
    run("ingest", dataset=str(data), image_side=40, shard_megabytes=1)
    limits = {"vocabulary_size": 60, "min_images": 3, "max_share": 0.5}
    run("tagging", tagger=str(data / "tagger"), **limits)
    run("weighting", neighbors=3, top_k=3)
    pretrained = run("wt_pretrain", **TRAINING)["model"]
    run("lw_pretrain", **TRAINING, target_norm="mean")
    run("multitask_pretrain", **TRAINING, concepts_weight=0.5)
    initial = run("initial_model", weights=str(pretrained), backbone="resnet10t")["model"]
    run("wt_pretrain", "wt_pretrain_initial", **TRAINING, initial_model=initial)
    given = TRAINING | {"targets": run.made["labels"]}
    scratch = run("finetune", **given)
    first = run("finetune", "finetune_pretrained", **given, initial_model=pretrained)
    run(
        "audit",
        **TRAINING,
        weights=run.made["weights"],
        initial_model=pretrained,
    )
    models = [scratch["model"], first["model"]]
    labels = run(
        "pseudo_label",
        models=models,
        weights=run.made["weights"],
        num_teachers=1,
        with_texts=True,
        label_share=0.1,
        keep_share=0.9,
    )["pseudo_labels"]
    going_on = {"initial_model": first["model"], "keep_head": True, "continue_learning_rate": True}
    again = run(
        "finetune", "finetune_again", **TRAINING | going_on | {"targets": labels, "image_size": 24}
    )
    together = run("ensemble", models=[scratch["model"], again["model"]])
    compared = {
        ("finetune", Name("resnet10t", "none")): scratch,
        ("finetune", Name("resnet10t", "wt")): first,
        ("finetune_again", Name("resnet10t", "wt")): again,
        ("ensemble", Name()): together,
    }
    names = described([Task(step, candidate, {}, {}) for step, candidate in compared])
    predictions = [outputs["predictions"] for outputs in compared.values()]
    run("compare", predictions=predictions, names=names)
    results = {"data": digests(data)} | run.results
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "requests.json").write_text(json.dumps(run.requests))


class Runner:
    """Runs stages, each in a folder of its own.

    Attributes:
        made: The outputs of all of them by name; of several with one name, the last one's.
        results: What of them is a result, by task and output.
        requests: The module and the ExecutorInput of each task.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.made: dict[str, Path] = {}
        self.results: dict[str, Any] = {}
        self.requests: dict[str, tuple[str, Any]] = {}

    def __call__(self, stage: str, task: str = "", **given: Any) -> dict[str, Path]:
        """Run a stage with parameters, and inputs that are not what was made under their names."""
        folder = self._folder / (task or stage)
        function = getattr(importlib.import_module(f"components.{stage}.stage"), stage)
        inputs, outputs = dict[str, Path](), dict[str, Path]()
        for each in arguments(function):
            if each.artifact is None:
                continue
            if each.artifact.output:
                outputs[each.name] = folder / each.name
            elif each.artifact.many:
                inputs |= {f"{each.name}_{i}": path for i, path in enumerate(given.pop(each.name))}
            elif not each.optional or each.name in given:
                inputs[each.name] = given.pop(each.name, self.made.get(each.name))
        request = {
            "inputs": {"parameterValues": given, "artifacts": _artifacts(inputs)},
            "outputs": {"artifacts": _artifacts(outputs), "outputFile": f"{folder}/output.json"},
        }
        module = f"components.{stage}"
        sys.argv[1:] = [json.dumps(request)]
        runpy.run_module(module, run_name="__main__")
        self.requests[task or stage] = module, request
        self.made |= outputs
        self.results[task or stage] = {
            name: numbers(path) if name == "metrics" else digests(path)
            for name, path in outputs.items()
            if name not in _FOR_PEOPLE
        }
        for name, path in outputs.items():
            shown = path.with_name(f"{path.name}.metadata.json")
            if shown.is_file():
                self.results[task or stage][f"{name}, as people see it"] = numbers(shown)
        return outputs


def _artifacts(paths: Mapping[str, Path]) -> dict[str, Any]:
    return {name: {"artifacts": [{"uri": str(path)}]} for name, path in paths.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
