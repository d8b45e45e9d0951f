"""The tasks of a pipeline being compiled."""

from collections.abc import Iterator, Mapping
from typing import Any

from components.shared.reports.titles import seed_word
from components.shared.stage.container import Nodes
from components.shared.stage.errors import UserError
from pipelines.cluster import pod_settings
from pipelines.images import LAUNCHER, reference
from pipelines.recipe import Candidate, Recipe
from pipelines.steps import POD, STEPS

Form = Mapping[str, Any]
Outputs = Mapping[str, Any]


class Tasks:
    """Adds tasks to the pipeline that KFP's compiler is at; those that would be the same, once."""

    def __init__(self, recipe: Recipe, form: Form, backend: pod_settings.Backend) -> None:
        """Begin with none.

        Args:
            recipe: Gives the parameters their values.
            form: The pipeline's parameters by name, which go before these.
            backend: The version of KFP's backend that pods are configured for.
        """
        self._recipe, self._form, self._backend = recipe, form, backend
        self._added: dict[str, tuple[str, Outputs]] = {}

    def add(
        self, step: str, candidate: Candidate | None, *, seed: int | None = None, **inputs: Any
    ) -> Outputs:
        """Return the outputs of a step's task for a candidate.

        Candidates share it where it has the same values and inputs; the first one names it, so a
        variant's name is only in the names of tasks that it changes.

        Args:
            step: One of `STEPS`.
            candidate: Whom it is for; None if it is for all of them.
            seed: That of the candidates whose models it takes.
            **inputs: Outputs of other tasks, and parameters that are no value of the recipe's.
        """
        values = {
            name: self._recipe.resolve(step, name, self._form, candidate)
            for name in STEPS[step].arguments()
        }
        if candidate is not None:
            values |= _of_candidate(step, candidate, inputs)
        content = repr(sorted((name, str(value)) for name, value in (values | inputs).items()))
        for name in _names(step, candidate, seed):
            if name not in self._added:
                self._added[name] = content, self._new(step, name, values, inputs)
            if self._added[name][0] == content:
                return self._added[name][1]
        raise UserError(f"candidates: two need a task {name} with different values: name a variant")

    def _new(
        self, step: str, name: str, values: Mapping[str, Any], inputs: Mapping[str, Any]
    ) -> Outputs:
        component = STEPS[step].component
        assert component is not None, f"{step} is a group"
        image = reference(component)
        given = {each: value for each, value in values.items() if each not in POD}
        # A field of the form may be any number; only a constant is known to be one.
        number = values.get("num_nodes", "1")
        nodes = None if str(number) == "1" else Nodes(number, reference(LAUNCHER))
        task = component.task(name, image=image, nodes=nodes, **inputs, **given)
        pod_settings.configure(
            task,
            pipeline=self._recipe.name,
            component=component,
            image=image,
            values={each: values[each] for each in POD if each in values},
            form=self._form,
            backend=self._backend,
            several_nodes=nodes is not None,
        )
        outputs: Outputs = task.outputs
        return outputs


def _of_candidate(step: str, candidate: Candidate, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a candidate alone says of a step that trains."""
    if not _trains(step):
        return {}
    starts = inputs.get("initial_model") is None
    seed = {} if candidate.seed is None else {"seed": candidate.seed}
    return {
        "backbone": candidate.backbone,
        "backbone_args": candidate.backbone_args,
        "initial_weights": candidate.initial_weights if starts else "none",
        **seed,
    }


def _names(step: str, candidate: Candidate | None, seed: int | None) -> Iterator[str]:
    """Yield the names that a task may have, the shortest first."""
    if candidate is None:
        yield _joined(step, seed_word(seed))
    elif step.startswith("finetune"):
        yield _joined(step, candidate.name)
    else:
        whose = [candidate.short_backbone] if _trains(step) else []
        last = seed_word(candidate.seed) if _trains(step) else ""
        yield _joined(step, *whose, last)
        yield _joined(step, *whose, candidate.variant, last)


def _joined(step: str, *words: str) -> str:
    return "-".join([step.replace("_", "-"), *filter(None, words)])


def _trains(step: str) -> bool:
    return step.startswith("finetune") or step.endswith("_pretrain")
