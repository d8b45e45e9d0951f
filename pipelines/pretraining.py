"""The pipeline: what depends on what. Recipes choose the candidates and the values."""

from dataclasses import replace

from components.shared.reports.titles import SCRATCH, Name
from pipelines.tasks import Output, Task, Tasks, described
from pipelines.values import Candidate, Recipe


def pretraining(recipe: Recipe) -> list[Task]:
    """Return the tasks of a recipe, each after those that it reads.

    Candidates and seeds are unrolled into named tasks: each shows in the graph, has resources of
    its own, and no control flow of KFP's is needed.
    """
    tasks = Tasks(recipe)

    def data(candidate: Candidate) -> Task:
        return tasks.add("ingest", candidate)

    def pretrained(candidate: Candidate) -> Output | None:
        ingest = data(candidate)
        texts, evaluation = ingest["texts"], {"evaluation": ingest["evaluation"]}
        tagging = tasks.add("tagging", candidate, texts=texts)
        weighting = tasks.add("weighting", candidate, texts=texts, labels=ingest["labels"])
        keywords, weights = {"keywords": tagging["keywords"]}, {"weights": weighting["weights"]}
        step = candidate.pretraining_step
        if step is None:
            return None
        reads = {
            "wt_pretrain": keywords,
            "lw_pretrain": weights | evaluation,
            "multitask_pretrain": keywords | weights | evaluation,
        }
        return tasks.add(step, candidate, images=ingest["images"], **reads[step])["model"]

    def finetuned(step: str, larger: str, candidate: Candidate, targets: Output) -> Output:
        ingest, model = data(candidate), pretrained(candidate)
        reads = {name: ingest[name] for name in ("images", "evaluation")} | {"targets": targets}
        for name in (step, *filter(recipe.has, [larger])):
            finetuning = tasks.add(name, candidate, initial_model=model, **reads)
            model = finetuning["model"]
            predictions.append(finetuning)
        return finetuning["model"]

    def audited(candidate: Candidate) -> Task:
        ingest, model = data(candidate), pretrained(candidate)
        texts, labels = ingest["texts"], ingest["labels"]
        weighting = tasks.add("weighting", candidate, texts=texts, labels=labels)
        return tasks.add(
            "audit",
            candidate,
            images=ingest["images"],
            labels=labels,
            evaluation=ingest["evaluation"],
            weights=weighting["weights"],
            silent_weight=weighting.values["fallback_weight"],
            initial_model=model,
        )

    predictions: list[Task] = []
    for seed in recipe.seeds:
        candidates = [replace(candidate, seed=seed) for candidate in recipe.candidates]
        models = [
            finetuned("finetune", "finetune_large", each, data(each)["labels"])
            for each in candidates
        ]
        ingest = data(candidates[0])
        if recipe.has("audit") and seed == recipe.seeds[0]:
            # Other pretrainings have seen the labels that it judges.
            unaware = [each for each in candidates if each.pretraining == "wt"]
            audited(next(iter(unaware), replace(candidates[0], pretraining=SCRATCH)))
        if recipe.has("finetune_again"):
            images, labels = ingest["images"], ingest["labels"]
            teaching = tasks.add(
                "pseudo_label", Name(seed=seed), images=images, labels=labels, models=models
            )
            models = [
                finetuned("finetune_again", "finetune_again_large", each, teaching["pseudo_labels"])
                for each in candidates
            ]
        if recipe.has("ensemble"):
            evaluation = ingest["evaluation"]
            ensemble = tasks.add("ensemble", Name(seed=seed), models=models, evaluation=evaluation)
            predictions.append(ensemble)
    tasks.add(
        "compare",
        Name(),
        predictions=[each["predictions"] for each in predictions],
        names=described(predictions),
        evaluation=data(recipe.candidates[0])["evaluation"],
    )
    return list(tasks)
