"""The pipeline: what depends on what. Recipes choose the candidates and the values."""

from dataclasses import replace

from components.shared.reports.titles import SCRATCH, Name
from pipelines.tasks import Input, Output, Task, Tasks, described
from pipelines.values import Candidate, Recipe


def pretraining(recipe: Recipe) -> list[Task]:
    """Return the tasks of a recipe, each after those that it reads.

    Candidates and seeds are unrolled into named tasks: each shows in the graph, has resources of
    its own, and no control flow of KFP's is needed.
    """
    tasks = Tasks(recipe)

    def data(candidate: Candidate) -> Task:
        return tasks.add("ingest", candidate)

    def keywords(candidate: Candidate) -> Output:
        return tasks.add("tagging", candidate, texts=data(candidate)["texts"])["keywords"]

    def weighting(candidate: Candidate) -> Task:
        texts, labels = data(candidate)["texts"], data(candidate)["labels"]
        return tasks.add("weighting", candidate, texts=texts, labels=labels)

    def weights(candidate: Candidate) -> Output:
        return weighting(candidate)["weights"]

    def texts_say(candidate: Candidate) -> dict[str, Input]:
        weighted = weighting(candidate)
        return {
            "weights": weighted["weights"],
            "silent_weight": weighted.values["fallback_weight"],
        }

    def evaluation(candidate: Candidate) -> Output:
        return data(candidate)["evaluation"]

    def initial(candidate: Candidate) -> Output | None:
        if recipe.weights(candidate) == "none":
            return None
        return tasks.add("initial_model", candidate)["model"]

    def pretrained(candidate: Candidate) -> Output | None:
        step = candidate.pretraining_step
        if step is None:
            return initial(candidate)
        # Called for candidates that have this pretraining: a stage that nothing reads is not run.
        reads = {
            "wt_pretrain": [keywords],
            "lw_pretrain": [weights, evaluation],
            "multitask_pretrain": [keywords, weights, evaluation],
        }
        inputs = {read.__name__: read(candidate) for read in reads[step]}
        given = {"images": data(candidate)["images"], "initial_model": initial(candidate)}
        return tasks.add(step, candidate, **given, **inputs)["model"]

    def finetuned(step: str, larger: str, candidate: Candidate, targets: Output) -> Output:
        ingest, model = data(candidate), pretrained(candidate)
        reads = {name: ingest[name] for name in ("images", "evaluation")} | {"targets": targets}
        for name in (step, *filter(recipe.has, [larger])):
            finetuning = tasks.add(name, candidate, initial_model=model, **reads)
            model = finetuning["model"]
            classifiers.append(finetuning)
        return finetuning["model"]

    def audited(candidate: Candidate) -> Task:
        return tasks.add(
            "audit",
            candidate,
            **{name: data(candidate)[name] for name in ("images", "labels", "evaluation")},
            **texts_say(candidate),
            initial_model=pretrained(candidate),
        )

    predictions: list[Task] = []
    audits: list[Task] = []
    for seed in recipe.seeds:
        classifiers: list[Task] = []
        candidates = [replace(candidate, seed=seed) for candidate in recipe.candidates]
        models = [
            finetuned("finetune", "finetune_large", each, data(each)["labels"])
            for each in candidates
        ]
        if recipe.has("audit") and seed == recipe.seeds[0]:
            # Other pretrainings have seen the labels that it judges.
            unaware = [each for each in candidates if each.pretraining == "wt"]
            plain = replace(candidates[0], pretraining=SCRATCH)
            audits.append(audited(next(iter(unaware), plain)))
        if recipe.has("finetune_again"):
            images, labels = (data(candidates[0])[name] for name in ("images", "labels"))
            said: dict[str, Input] = {"silent_weight": 0.0}
            if recipe.resolve("pseudo_label", "with_texts", {}):
                said = texts_say(candidates[0])
            teaching = tasks.add(
                "pseudo_label", Name(seed=seed), images=images, labels=labels, models=models, **said
            )
            models = [
                finetuned("finetune_again", "finetune_again_large", each, teaching["pseudo_labels"])
                for each in candidates
            ]
        predictions += classifiers
        if recipe.has("ensemble"):
            members = [each["model"] for each in classifiers]  # of all rounds and resolutions
            inputs = {"evaluation": evaluation(candidates[0])}
            predictions.append(tasks.add("ensemble", Name(seed=seed), models=members, **inputs))
    tasks.add(
        "compare",
        Name(),
        predictions=[each["predictions"] for each in predictions],
        names=described(predictions, audits),
        evaluation=evaluation(recipe.candidates[0]),
    )
    return list(tasks)
