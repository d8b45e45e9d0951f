"""What a form's fields are called, and what is said of them where Kubeflow shows only names."""

from pathlib import Path

import pytest

from components.shared.stage.errors import UserError
from pipelines.compile import compile_recipe
from pipelines.form import description, rows
from pipelines.recipe import load
from pipelines.run import graph
from pipelines.steps import field_name
from tests.pipelines.recipes import Compiled


@pytest.mark.parametrize(
    ("step", "parameter", "expected"),
    [
        ("ingest", "dataset", "dataset"),
        ("ingest", "limit", "ingest_limit"),
        ("finetune_large", "epochs", "finetune_large_epochs"),
        ("finetune", "rerun", "rerun_finetune"),
        ("training", "node_selector", "node_selector_training"),
        ("gpu_pods", "node_selector", "gpu_node_selector"),
        ("gpu_pods", "gpu_type", "gpu_type"),
        ("cpu_pods", "tolerations", "cpu_tolerations"),
    ],
)
def test_fields_are_named_so_that_those_of_a_kind_stand_together(
    step: str, parameter: str, expected: str
) -> None:
    assert field_name(step, parameter) == expected


@pytest.mark.parametrize("old", ["finetune_rerun", "ingest_rerun", "pseudo_label_gpus"])
def test_an_old_name_is_answered_with_the_new_one(old: str, compiled_recipe: Compiled) -> None:
    step, _, setting = old.rpartition("_")

    with pytest.raises(UserError, match=f"{old}: no such parameter; it is {setting}_{step} now"):
        graph.read(compiled_recipe("smoke"), [f"{old}=1"])


def test_a_recipe_with_an_old_name_is_answered_with_the_new_one(tmp_path: Path) -> None:
    recipe = tmp_path / "x.yaml"
    recipe.write_text("name: x\ncandidates: [{backbone: resnet18}]\nform: [training_num_nodes]\n")

    with pytest.raises(UserError, match="it is num_nodes_training now"):
        load(str(recipe))


def test_the_description_says_what_each_field_sets(compiled_recipe: Compiled) -> None:
    fields = load("paper").fields()
    text = description(load("paper"))

    blocks = {f"{name}_<stage>" for name in ("rerun", "gpus")}
    assert {row.field for row in rows(load("paper"))} == blocks | {
        name for name in fields if not name.startswith(("rerun_", "gpus_"))
    }
    assert "\nfinetune_epochs (180): Epochs to train for" in text
    spec, *_ = graph.documents(compiled_recipe("paper"))
    assert spec["pipelineInfo"]["description"] == text


def test_truths_are_a_dropdown(tmp_path: Path) -> None:
    recipe = tmp_path / "x.yaml"
    recipe.write_text(
        "name: x\ncandidates: [{backbone: resnet18, pretraining: [wt]}]\n"
        "form: [tagging_keep_query_words]\n"
    )
    compile_recipe(load(str(recipe)), tmp_path / "x.compiled.yaml")

    spec, *_ = graph.documents(tmp_path / "x.compiled.yaml")
    field = spec["root"]["inputDefinitions"]["parameters"]["tagging_keep_query_words"]
    assert field["literals"] == [True, False]
    form = graph.read(tmp_path / "x.compiled.yaml", ["tagging_keep_query_words=false"]).form
    assert form["tagging_keep_query_words"] is False


def test_a_field_without_effect_is_not_shown(tmp_path: Path) -> None:
    recipe = tmp_path / "x.yaml"
    head = "name: x\ncandidates: [{backbone: resnet18}]\n"
    own = "finetune: {node_selector: {pool: a}, epochs: 3}\n"
    recipe.write_text(head + own)

    assert "gpu_node_selector" not in load(str(recipe)).form
    assert "cpu_node_selector" in load(str(recipe)).form
    recipe.write_text(f"{head}{own}form: [training_epochs]\n")
    with pytest.raises(UserError, match="form: training_epochs has no effect"):
        load(str(recipe))
