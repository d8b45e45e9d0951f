"""The pipeline: what depends on what. Recipes choose the candidates and the values."""

import json
from dataclasses import replace
from typing import Any

from components.shared.reports.titles import seed_word
from pipelines.cluster import pod_settings
from pipelines.recipe import Candidate, Recipe
from pipelines.tasks import Form, Outputs, Tasks


def pretraining(recipe: Recipe, form: Form, backend: pod_settings.Backend) -> None:
    """Add the tasks of a recipe to the pipeline being compiled.

    Candidates and seeds are unrolled into named tasks: each shows in the graph, has resources of
    its own, and no control flow of KFP's is needed.

    Args:
        recipe: Candidates and values.
        form: The pipeline's parameters by name.
        backend: The version of KFP's backend that pods are configured for.
    """
    tasks = Tasks(recipe, form, backend)

    def data(candidate: Candidate) -> Outputs:
        return tasks.add("ingest", candidate)

    def validation(ingest: Outputs) -> dict[str, Any]:
        return {name: ingest[name] for name in ("validation_images", "validation_labels")}

    def pretrained(candidate: Candidate) -> Any:
        ingest = data(candidate)
        texts, labels, concepts = ingest["texts"], ingest["labels"], ingest["concepts"]
        tagging = tasks.add("tagging", candidate, texts=texts)
        weighting = tasks.add("weighting", candidate, texts=texts, labels=labels, concepts=concepts)
        images, keywords, weights = ingest["images"], tagging["keywords"], weighting["weights"]
        match candidate.pretraining:
            case "wt":
                wt = tasks.add("wt_pretrain", candidate, images=images, keywords=keywords)
                return wt["model"]
            case "lw":
                lw = tasks.add(
                    "lw_pretrain", candidate, images=images, weights=weights, **validation(ingest)
                )
                return lw["model"]
            case "multitask":
                targets = {"keywords": keywords, "weights": weights}
                both = tasks.add(
                    "multitask_pretrain", candidate, images=images, **targets, **validation(ingest)
                )
                return both["model"]
            case "none":
                return None

    def finetuned(step: str, candidate: Candidate, targets: Any) -> Any:
        ingest, model = data(candidate), pretrained(candidate)
        for name in filter(recipe.has, (step, f"{step}_large")):
            finetuning = tasks.add(
                name,
                candidate,
                images=ingest["images"],
                targets=targets,
                initial_model=model,
                **validation(ingest),
            )
            model = finetuning["model"]
            predictions[name, candidate.name] = finetuning["predictions"]
        return model

    predictions: dict[tuple[str, str], Any] = {}
    for seed in recipe.seeds:
        candidates = [replace(candidate, seed=seed) for candidate in recipe.candidates]
        models = [finetuned("finetune", each, data(each)["labels"]) for each in candidates]
        ingest = data(candidates[0])
        if recipe.has("finetune_again"):
            images, labels = ingest["images"], ingest["labels"]
            teaching = tasks.add(
                "pseudo_label", None, seed=seed, images=images, labels=labels, models=models
            )
            pseudo_labels = teaching["pseudo_labels"]
            models = [finetuned("finetune_again", each, pseudo_labels) for each in candidates]
        if recipe.has("ensemble"):
            tests = ingest["test_images"]
            ensemble = tasks.add(
                "ensemble", None, seed=seed, models=models, test_images=tests, **validation(ingest)
            )
            predictions["ensemble", seed_word(seed)] = ensemble["predictions"]
    tasks.add(
        "compare",
        None,
        predictions=list(predictions.values()),
        names=json.dumps(list(predictions)),
        validation_labels=data(recipe.candidates[0])["validation_labels"],
    )
