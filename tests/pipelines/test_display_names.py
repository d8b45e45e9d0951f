"""What Kubeflow's graph shows of a recipe's tasks."""

from pathlib import Path

import pytest

from pipelines.display_names import LONGEST, display_names
from pipelines.pretraining import pretraining
from pipelines.recipe import load
from pipelines.run import graph
from tests.pipelines.recipes import LARGEST, RECIPES, Compiled


@pytest.mark.parametrize("name", [*RECIPES, LARGEST, "ablation-noise-drawn"])
def test_names_differ_within_what_the_graph_shows_of_them(name: str) -> None:
    tasks = pretraining(load(name))

    names = display_names(tasks)

    assert set(names) == {task.name for task in tasks}
    assert len(set(names.values())) == len(tasks)
    assert max(map(len, names.values())) <= LONGEST


def named(folder: Path, candidates: str, sections: str = "") -> list[str]:
    (folder / "x.yaml").write_text(f"name: webly-x\ncandidates: [{candidates}]\n{sections}\n")
    return [*display_names(pretraining(load(str(folder / "x.yaml")))).values()]


@pytest.mark.parametrize(
    ("candidates", "sections", "expected"),
    [
        ("{backbone: resnet18, pretraining: [wt, none]}", "", ["WT pretrain", "scratch finetune"]),
        (
            "{backbone: resnet18, pretraining: [wt, none], initial_weights: imagenet}",
            "",
            ["initial model", "WT pretrain", "plain finetune"],
        ),
        ("{backbone: vgg11}, {backbone: vgg13}", "", ["scr tune vgg11", "scr tune vgg13"]),
        ("{backbone: resnet18}, {backbone: resnet50}", "", ["scr tune resnet18"]),
        ("{backbone: resnet18}", "seeds: [3, 4]", ["scr tune s3", "scr tune s4"]),
        ("{backbone: resnext101_32x8d}, {backbone: resnet18}", "", ["scr tune resnext101"]),
    ],
)
def test_names_say_what_a_recipe_has_several_of(
    candidates: str, sections: str, expected: list[str], tmp_path: Path
) -> None:
    assert {*expected} <= {*named(tmp_path, candidates, sections)}


@pytest.mark.parametrize(("name", "most"), [("demo", 83), ("paper", 136)])
def test_a_graph_has_few_nodes(name: str, most: int, compiled_recipe: Compiled) -> None:
    """Kubeflow draws one for each task, and one for each artifact."""
    tasks = graph.read(compiled_recipe(name), []).tasks

    assert len(tasks) + sum(len(task.outputs) for task in tasks) <= most
