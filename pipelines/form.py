"""A pipeline's form, as text: Kubeflow's UI shows only names of fields, sorted."""

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from pipelines.steps import form_fields
from pipelines.values import Recipe


class Row(NamedTuple):
    """What a field is for, or several that set the same of different stages.

    Attributes:
        field: Its name, such as `finetune_epochs`; of several `rerun_<stage>`.
        default: Its default, as text; of several with different ones `…`.
        help: What it sets.
    """

    field: str
    default: str
    help: str


def rows(recipe: Recipe) -> Iterator[Row]:
    """Yield the fields of a recipe's form, in the order of Kubeflow's."""
    known = form_fields()

    def kind(name: str) -> str:
        step, argument = known[name]
        return f"{argument.name}_<stage>" if name == f"{argument.name}_{step}" else name

    fields = recipe.fields()
    for name, names in groupby(sorted(fields), key=kind):
        several = [fields[each] for each in names]
        defaults = {str(each.default) for each in several}
        default = defaults.pop() if len(defaults) == 1 else "…"
        yield Row(name, default or "empty", several[0].help)


def description(recipe: Recipe) -> str:
    """Return a recipe's description, and what the fields of its form set."""
    lines = (f"{row.field} ({row.default}): {row.help}" for row in rows(recipe))
    return "\n".join([recipe.description, "", "Fields of the form, with their defaults:", *lines])
