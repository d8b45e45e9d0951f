from pathlib import Path

import pytest

from components.shared.interface import UserError
from pipelines.recipe import Candidate, Recipe, load
from pipelines.steps import STEPS, split_task

HEAD = "name: webly-test\n"
BACKBONE = "candidates: [{backbone: resnet18, pretraining: [wt, none]}]\n"


def recipe(tmp_path: Path, text: str, head: str = HEAD + BACKBONE) -> Recipe:
    path = tmp_path / "test.yaml"
    path.write_text(head + text)
    return load(str(path))


def test_a_later_round_inherits_what_it_does_not_set_itself(tmp_path: Path) -> None:
    read = recipe(
        tmp_path,
        """
training: {batch_size: 64, seed: 7}
finetune: {epochs: 20, batch_size: 32}
finetune_large: {epochs: 3}
finetune_again: {}
finetune_again_large: {warmup_epochs: 0}
""",
    )

    epochs = {step: read.resolve(step, "epochs", {}) for step in STEPS if "finetune" in step}
    assert epochs == {
        "finetune": 20,
        "finetune_large": 3,
        "finetune_again": 20,
        "finetune_again_large": 3,
    }
    assert read.resolve("finetune_again_large", "batch_size", {}) == 32
    assert read.resolve("wt_pretrain", "batch_size", {}) == 64
    assert read.resolve("finetune_large", "seed", {}) == 7
    assert read.resolve("finetune_again_large", "warmup_epochs", {}) == 0.0
    assert read.resolve("finetune_again", "weight_decay", {}) == 1e-4


def test_the_large_round_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    read = recipe(tmp_path, "finetune_large: {}\nfinetune_again: {}\nfinetune_again_large: {}\n")

    for name in ("keep_head", "continue_learning_rate"):
        values = {step: read.resolve(step, name, {}) for step in STEPS if "finetune" in step}
        assert values == {
            "finetune": False,
            "finetune_large": True,
            "finetune_again": False,
            "finetune_again_large": True,
        }


def test_a_field_of_the_form_governs_the_rounds_that_inherit_it(tmp_path: Path) -> None:
    read = recipe(tmp_path, "finetune_large: {epochs: 3}\nfinetune_again: {}\n")
    form = {"finetune_epochs": "F"}

    assert read.resolve("finetune", "epochs", form) == "F"
    assert read.resolve("finetune_again", "epochs", form) == "F"
    assert read.resolve("finetune_large", "epochs", form) == 3
    assert read.resolve("wt_pretrain", "epochs", form) == 180


def test_a_field_of_a_later_round_goes_before_what_it_inherits(tmp_path: Path) -> None:
    read = recipe(tmp_path, "finetune_large: {epochs: 3}\n")

    assert read.resolve("finetune_large", "epochs", {"finetune_large_epochs": "L"}) == "L"


def test_the_form_shows_the_recipes_values(tmp_path: Path) -> None:
    text = "form: [finetune_epochs, training_batch_size]\ntraining: {epochs: 5}\n"

    fields = recipe(tmp_path, text).fields()

    assert fields["finetune_epochs"].default == 5
    assert fields["training_batch_size"].default == 256
    assert {"dataset", "dataset_version", "finetune_gpus", "tagging_rerun"} <= set(fields)


def test_candidates_are_backbones_times_pretrainings(tmp_path: Path) -> None:
    read = recipe(
        tmp_path,
        """
candidates:
  - {backbone: resnet10t, backbone_args: {stem_width: 16}, pretraining: [wt, none]}
  - {backbone: tf_efficientnet_b4.ns_jft, initial_weights: s3://b/w}
""",
        HEAD,
    )

    assert read.candidates == (
        Candidate("resnet10t", "wt", '{"stem_width": 16}'),
        Candidate("resnet10t", "none", '{"stem_width": 16}'),
        Candidate("tf_efficientnet_b4.ns_jft", "none", "{}", "s3://b/w"),
    )
    assert read.candidates[2].name == "tf-efficientnet-b4-ns-jft-none"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("finetun: {}", "line 3: no section 'finetun'; .*finetune_large"),
        ("finetune:\n  lr: 1", "line 4: finetune: no parameter 'lr'; .*learning_rate"),
        ("finetune: {epochs: many}", "line 3: finetune: epochs='many': a whole number"),
        ("finetune: {epochs: 1.5}", "line 3: finetune: epochs=1.5: a whole number"),
        ("training: {gpus: 8}", "line 3: training: gpus=8: a text"),
        ("tagging: {fields: titles}", "line 3: tagging: fields='titles': choose one of title,"),
        ("finetune: {backbone: x}", "line 3: finetune: backbone belongs to the candidates"),
        ("finetune: [1]", "line 3: finetune: values by parameter are needed"),
        ("finetune: {epochs: 1, epochs: 2}", "line 3: epochs is there twice"),
        ("form: [finetune_lr]", "form: 'finetune_lr' .*finetune_learning_rate"),
        ("form: [finetune_large_epochs]", "form: 'finetune_large_epochs'"),
        ("form: [finetune_disk]", "form: 'finetune_disk' can be no field"),
        ("lw_pretrain: {epochs: 1}", "lw_pretrain: nothing in this recipe takes this step"),
        ("finetune_again_large: {}", "it goes on from finetune_again"),
        ("ingest: {image_side: 200}", "wt_pretrain: image_size=224 .* image_side=200 to 224"),
        ("finetune_large: {image_size: 300}", "finetune_large: image_size=300 .*image_side=256"),
        ("a: [", "while parsing"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UserError, match=f"test.yaml: (?s:.*){message}"):
        recipe(tmp_path, text)


@pytest.mark.parametrize("name", ["Webly", "webly_paper", "webly-", "w" * 64])
def test_a_name_that_is_no_label_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"name: '{name}': write a-z, 0-9 and hyphens"):
        recipe(tmp_path, "", f"name: {name}\n{BACKBONE}")


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ("", "at least one"),
        ("candidates: [resnet18]", "resnet18: it takes backbone, pretraining"),
        ("candidates: [{backbone: a, size: 1}]", "it takes backbone, pretraining"),
        ("candidates: [{backbone: a, pretraining: [x]}]", "'x': choose from wt, lw, none"),
        ("candidates: [{backbone: a, pretraining: wt}]", "as a list, such as"),
        ("candidates: [{backbone: a, pretraining: []}]", "as a list, such as"),
        ("candidates: [{backbone: a}, {backbone: A}]", "a-none is there twice"),
    ],
)
def test_wrong_candidates_are_refused(tmp_path: Path, candidates: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        recipe(tmp_path, candidates, HEAD)


@pytest.mark.parametrize(
    ("task", "parts"),
    [
        ("ingest", ("ingest", "")),
        ("wt-pretrain-resnest101e", ("wt_pretrain", "resnest101e")),
        ("finetune-resnet18-wt", ("finetune", "resnet18-wt")),
        ("finetune-again-large-resnet18-none", ("finetune_again_large", "resnet18-none")),
    ],
)
def test_a_tasks_name_tells_its_step_and_candidate(task: str, parts: tuple[str, str]) -> None:
    assert split_task(task) == parts
