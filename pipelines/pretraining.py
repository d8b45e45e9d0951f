"""The pipeline: what depends on what. Recipes choose the candidates and the values."""

import functools
from collections.abc import Mapping
from typing import Any

from pipelines import pods
from pipelines.images import reference
from pipelines.recipe import Candidate, Recipe
from pipelines.steps import POD, STEPS

Form = Mapping[str, Any]
Outputs = Mapping[str, Any]


def pretraining(recipe: Recipe, form: Form, backend: pods.Backend) -> None:
    """Add the tasks of a recipe to the pipeline being compiled.

    Candidates are unrolled into named tasks: each shows in the graph, has resources of its own,
    and no control flow of KFP's is needed.

    Args:
        recipe: Candidates and values.
        form: The pipeline's parameters by name.
        backend: The version of KFP's backend that pods are configured for.
    """
    add = functools.partial(_add, recipe, form, backend)
    ingest = add("ingest")
    images = {"images": ingest["images"]}
    validation = {name: ingest[name] for name in ("validation_images", "validation_labels")}
    texts, labels = ingest["texts"], ingest["labels"]
    tagging = add("tagging", texts=texts)
    weighting = add("weighting", texts=texts, labels=labels, concepts=ingest["concepts"])

    def pretrain(candidate: Candidate) -> Any:
        match candidate.pretraining:
            case "wt":
                wt = add("wt_pretrain", candidate, **images, keywords=tagging["keywords"])
                return wt["model"]
            case "lw":
                weights = {"weights": weighting["weights"]}
                return add("lw_pretrain", candidate, **images, **weights, **validation)["model"]
            case "none":
                return None

    pretrained = {candidate: pretrain(candidate) for candidate in recipe.candidates}

    def finetune(step: str, candidate: Candidate, targets: Any) -> Any:
        model = pretrained[candidate]
        for name in filter(recipe.has, (step, f"{step}_large")):
            finetuning = add(
                name, candidate, **images, **validation, targets=targets, initial_model=model
            )
            model = finetuning["model"]
        return model

    models = [finetune("finetune", candidate, labels) for candidate in recipe.candidates]
    if recipe.has("finetune_again"):
        teaching = add("pseudo_label", **images, labels=labels, models=models)
        pseudo_labels = teaching["pseudo_labels"]
        models = [finetune("finetune_again", each, pseudo_labels) for each in recipe.candidates]
    add("ensemble", **validation, test_images=ingest["test_images"], models=models)


def _add(
    recipe: Recipe,
    form: Form,
    backend: pods.Backend,
    step: str,
    candidate: Candidate | None = None,
    **inputs: Any,
) -> Outputs:
    """Add the task of a step, with every parameter given, and return its outputs."""
    component = STEPS[step].component
    assert component is not None, f"{step} is a group"
    values = {name: recipe.resolve(step, name, form) for name in STEPS[step].arguments()}
    resources = {name: values.pop(name) for name in POD if name in values}
    name = step.replace("_", "-")
    if candidate is not None:
        pretrains = step.endswith("_pretrain")
        name += f"-{candidate.short_backbone if pretrains else candidate.name}"
        values["backbone"] = candidate.backbone
        values["backbone_args"] = candidate.backbone_args
        starts = inputs.get("initial_model") is None
        values["initial_weights"] = candidate.initial_weights if starts else "none"
    image = reference(component)
    task = component.task(name, image=image, **inputs, **values)
    pods.configure(
        task,
        pipeline=recipe.name,
        component=component,
        image=image,
        values=resources,
        form=form,
        backend=backend,
    )
    outputs: Outputs = task.outputs
    return outputs
