import json
import re
from pathlib import Path

import pytest

from components.finetune.component import finetune
from components.shared.reports.titles import Name
from components.shared.stage.errors import UserError
from pipelines.compile import compile_recipe
from pipelines.pretraining import pretraining
from pipelines.recipe import load
from pipelines.recipe_files import FOLDER
from pipelines.run import graph
from pipelines.steps import STEPS
from pipelines.tasks import Field, Output, Task
from pipelines.values import Candidate, Recipe

HEAD = "name: webly-test\n"
FINETUNINGS = [name for name, step in STEPS.items() if step.component is finetune]
BACKBONE = "candidates: [{backbone: resnet18, pretraining: [wt, none]}]\n"
LARGE = "finetune_large: {epochs: 3, image_size: 256}\n"


def short(value: str) -> str:
    """Return the name of a case."""
    return value[:80]


def recipe(tmp_path: Path, text: str, head: str = HEAD + BACKBONE) -> Recipe:
    path = tmp_path / "test.yaml"
    path.write_text(head + text)
    return load(str(path))


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.yaml")))
def test_every_recipe_can_be_read(name: str) -> None:
    assert load(name).name.startswith("webly-")


def test_the_readme_says_how_many_tasks_each_recipe_has() -> None:
    rows = re.findall(r"^\| (`.*?) \|.*\| (\d+) \|$", (FOLDER / "README.md").read_text(), re.M)

    said = {name: int(tasks) for names, tasks in rows for name in re.findall("`(.*?)`", names)}

    assert said == {path.stem: len(pretraining(load(path.stem))) for path in FOLDER.glob("*.yaml")}


def test_a_later_round_inherits_what_it_does_not_set_itself(tmp_path: Path) -> None:
    read = recipe(
        tmp_path,
        """
training: {batch_size: 64, seed: 7}
finetune: {epochs: 20, batch_size: 32}
finetune_large: {epochs: 3, image_size: 256}
finetune_again: {}
finetune_again_large: {warmup_epochs: 0}
""",
    )

    epochs = {step: read.resolve(step, "epochs", {}) for step in FINETUNINGS}
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
    read = recipe(tmp_path, f"{LARGE}finetune_again: {{}}\nfinetune_again_large: {{}}\n")

    for name in ("keep_head", "continue_learning_rate"):
        values = {step: read.resolve(step, name, {}) for step in FINETUNINGS}
        assert values == {
            "finetune": False,
            "finetune_large": True,
            "finetune_again": False,
            "finetune_again_large": True,
        }


def test_a_field_of_the_form_governs_the_rounds_that_inherit_it(tmp_path: Path) -> None:
    read = recipe(tmp_path, f"{LARGE}finetune_again: {{}}\n")
    form = {"finetune_epochs": "F"}

    assert read.resolve("finetune", "epochs", form) == "F"
    assert read.resolve("finetune_again", "epochs", form) == "F"
    assert read.resolve("finetune_large", "epochs", form) == 3
    assert read.resolve("wt_pretrain", "epochs", form) == 180


def test_a_field_of_a_later_round_goes_before_what_it_inherits(tmp_path: Path) -> None:
    read = recipe(tmp_path, LARGE)

    assert read.resolve("finetune_large", "epochs", {"finetune_large_epochs": "L"}) == "L"


def test_the_form_shows_the_recipes_values(tmp_path: Path) -> None:
    text = "form: [finetune_epochs, training_batch_size]\ntraining: {epochs: 5}\n"

    fields = recipe(tmp_path, text).fields()

    assert fields["finetune_epochs"].default == 5
    assert fields["training_batch_size"].default == 256
    assert {"dataset", "dataset_version", "gpus_finetune", "rerun_tagging"} <= set(fields)


def test_candidates_are_backbones_times_pretrainings(tmp_path: Path) -> None:
    read = recipe(
        tmp_path,
        """
candidates:
  - {backbone: resnet10t, backbone_args: {stem_width: 16}, pretraining: [wt, none]}
  - {backbone: tf_efficientnet_b4.ns_jft_in1k, initial_weights: s3://b/w}
""",
        HEAD,
    )

    assert read.candidates == (
        Candidate("resnet10t", "wt", '{"stem_width": 16}'),
        Candidate("resnet10t", "none", '{"stem_width": 16}'),
        Candidate("tf_efficientnet_b4.ns_jft_in1k", "none"),
    )
    assert [read.weights(each) for each in read.candidates] == ["none", "none", "s3://b/w"]
    assert str(read.candidates[2].name) == "tf-efficientnet-b4-ns-jft-in1k-none"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("finetun: {}", "line 3: no section 'finetun'; did you mean finetune or"),
        ("finetune:\n  lr: 1", "line 4: finetune: no parameter 'lr'; .*learning_rate"),
        ("finetune: {epochs: many}", "line 3: finetune: epochs='many': must be an integer"),
        ("finetune: {epochs: 1.5}", "line 3: finetune: epochs=1.5: must be an integer"),
        ("finetune: {epochs: -3}", "line 3: finetune: epochs=-3: must be at least 1"),
        ("finetune: {learning_rate: .nan}", "learning_rate=nan: must be a finite number"),
        ("ingest: {dataset: 'gs://bucket/data'}", "must be a folder, or s3://bucket/prefix"),
        ("training: {batch_size: 100}", "wt_pretrain: accumulation_steps=8: must divide"),
        ("training: {gpus: '3'}", "wt_pretrain: batch_size=256: 3 processes divide it"),
        ("training: {gpus: 8}", "line 3: training: gpus=8: must be a string"),
        ("tagging: {fields: titles}", "line 3: tagging: fields='titles': did you mean title"),
        ("finetune: {backbone: x}", "line 3: finetune: backbone belongs to the candidates"),
        ("finetune: [1]", "line 3: finetune: must be a mapping"),
        ("finetune: {epochs: 1, epochs: 2}", "line 3: epochs is set twice"),
        ("form: [finetune_lr]", "form: 'finetune_lr' .*finetune_learning_rate"),
        ("form:", "form: None must be a list of fields"),
        ("form: [{epochs: 1}]", "form: .* must be a list of fields"),
        ("description:", "description: None must be text"),
        ("form: [finetune_large_epochs]", "form: 'finetune_large_epochs'"),
        ("form: [finetune_disk]", "form: 'finetune_disk' cannot be a field"),
        ("lw_pretrain: {epochs: 1}", "lw_pretrain: nothing in this recipe uses this step"),
        ("finetune_again_large: {}", "continues finetune_again"),
        ("weighting: {top_k: 3}", "weighting: nothing in this recipe uses this step"),
        (
            "training: {image_size: 128}\nfinetune_large: {image_size: 96}",
            "finetune_large: image_size=96 is not larger than that of finetune.* more than 128",
        ),
        ("finetune_large: {}", "finetune_large: image_size=224 is not larger .* more than 224"),
        (
            "finetune: {epoch: 1}\nfinetun: {}",
            r"line 3: finetune: no .*\nline 4: no section 'finetun'",
        ),
        ("without: [ensemble]", "without: this recipe extends no other"),
        ("ingest: {image_side: 200}", "wt_pretrain: image_size=224 .* image_side=200 to 224"),
        ("finetune_large: {image_size: 300}", "finetune_large: image_size=300 .*image_side=256"),
        ("a: [", "while parsing"),
        ("seeds: [0, 1.5]", r"seeds: \[0, 1.5\]: must be distinct integers"),
        ("seeds: {0: 1}", "line 3: key '0': must be text"),
        ("seeds: [100000000000000000000000]", "seeds: seed=1000.*: must be at least 0 and below"),
        (f"seeds: {list(range(3_000))}", "2 candidates × 3,000 seeds are 6,000 trainings, more"),
        ("description: [1]", r"description: \[1\] must be text"),
        (f"description: {3_000 * 'x'}", "description: 'xx.*xx' must be text of at most 2,000 char"),
        ("form: 5", "form: 5 must be a list of fields"),
        ("form: [finetune_epochs, [1]]", "must be a list of fields"),
        ("drawn: 5", "drawn: 5: must map folders to settings"),
        ("drawn: {here: }", "drawn: here: None: must be a mapping of settings"),
        ("drawn: {here: {kinds: 1000000}}", "drawn: here: kinds=1000000: must be at least 1"),
        ("finetune: 0", "line 3: finetune: must be a mapping of parameters to values, not 0"),
        ('finetune: ""', "line 3: finetune: must be a mapping of parameters to values, not ''"),
        (f"finetune: {{epochs: {400 * '9'}}}", r"an integer of about 40\d digits\): must be at"),
        ("finetune: {epochs: 1.0e+300}", r"about 301 digits\): must be at least"),
        ("finetune: {learning_rate: 1e999}", "learning_rate='1e999': must be a finite number"),
        ("finetune: {epochs: 2020-01-01}", "epochs='2020-01-01': must be an integer"),
        ('tagging: {tagger: "{{$.inputs}}"}', "placeholder of Kubeflow's"),
        ("training: {gpus: '1000'}", "at most '999'"),
        ("training: {num_nodes: '99999'}", "at most '9999'"),
        (
            "pods: {tolerations: [{operator: Exists, tolerationSeconds: .inf}]}",
            "inf: must be a who",
        ),
        ("pods: {node_selector: {pool: [1]}}", r"pool: \[1\] must be text"),
        (f"ingest: {{dataset: {31_000 * 'x'}}}", "has 31,000 characters, of at most 30,000"),
        (
            f"ingest: {{dataset: {29_000 * 'x'}, dataset_version: {29_000 * 'x'}, label_field: "
            f"{9_000 * 'x'}}}",
            "ingest: all parameters together take 6.* bytes, of at most 60,000 .* shorten dataset",
        ),
    ],
    ids=short,
)
def test_what_is_wrong_is_named_with_what_is_allowed(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UserError, match=f"test.yaml:[ \n](?s:.*){message}"):
        recipe(tmp_path, text)


@pytest.mark.parametrize("name", ["Webly", "webly_paper", "webly-", "w" * 64])
def test_a_name_that_is_no_label_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f"name: '{name}': use at most 63 characters of a-z, 0-9"):
        recipe(tmp_path, "", f"name: {name}\n{BACKBONE}")


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ("", "at least one"),
        ("candidates: [resnet18]", "'resnet18': may have backbone, pretraining"),
        ("candidates: [{backbone: a, size: 1}]", "may have backbone, pretraining"),
        (
            "candidates: [{backbone: a, pretraining: [x]}]",
            "'x': choose from wt, lw, multi",
        ),
        ("candidates: [{backbone: a, pretraining: [multi]}]", "'multi': did you mean multitask?"),
        ("candidates: [{backbones: a}]", "did you mean backbone?"),
        ("candidates: [{backbone: a, pretraining: wt}]", "must be a list, such as"),
        ("candidates: [{backbone: a, pretraining: []}]", "must be a list, such as"),
        ("candidates: [{backbone: a}, {backbone: A}]", "a-none is listed twice"),
        ("candidates: [{backbone: 18}]", "backbone=18: must be a string"),
        ("candidates: [{backbone: resnet18, backbone_args: [1]}]", "must be a JSON object"),
        ("candidates: [{backbone: resnet18, backbone_args: {a: .nan}}]", "JSON object.* of finite"),
        ("candidates: [{backbone: [1]}]", r"backbone=\[1\]: must be a string"),
        ('candidates: [{backbone: "---"}]', "backbone='---': must be the name of a timm model"),
        ("candidates: 5", "candidates: 5: must be a list of mappings"),
        ("candidates: {a: 1}", "candidates: {'a': 1}: must be a list of mappings"),
        ("candidates: [{backbone: a, pretraining: [[wt]]}]", r"pretraining \['wt'\]: choose from"),
        ("candidates: [{backbone: a, variant: 5, finetune: {epochs: 1}}]", "variant must be text"),
        ("candidates: [{backbone: a, variant: [1], finetune: {}}]", "variant must be text"),
        ("candidates: [{backbone: a, finetune: 5, variant: b}]", "must be a mapping of parameters"),
        (
            "candidates: [{backbone: resnet18, initial_weights: [1]}]",
            r"candidates: initial_weights: weights=\[1\]: must be a string",
        ),
        (
            "candidates: [{backbone: resnet18, initial_weights: gs://b/w}]",
            "must be a folder, or s3",
        ),
        (
            "candidates: [{backbone: resnet18}]\nfinetune: {continue_learning_rate: true}",
            "finetune: continue_learning_rate=true needs a pretraining",
        ),
        (
            "candidates: [{backbone: resnet18}]\ntraining: {schedule: cosine, image_size: 128}\n"
            "finetune_large: {image_size: 160}",
            "finetune_large: continue_learning_rate=true: .*continue_learning_rate=false",
        ),
        (
            "candidates: [{backbone: resnet18}]\nfinetune: {keep_head: true}",
            "finetune: keep_head=true needs a pretraining, or a folder as initial_weights",
        ),
        (
            "candidates: [{backbone: resnet18, initial_weights: imagenet}]\n"
            "finetune: {keep_head: true}",
            "finetune: keep_head=true needs a pretraining, or a folder as initial_weights",
        ),
        (
            "candidates: [{backbone: resnet18, initial_weights: imagenet}]\n"
            "finetune: {continue_learning_rate: true}",
            "finetune: continue_learning_rate=true needs a pretraining",
        ),
        (
            "candidates: [{backbone: resnest27d, initial_weights: imagenet}]",
            "initial_model: backbone='resnest27d': timm has no such model",
        ),
        (
            "candidates: [{backbone: resnet18, initial_weights: 1}]",
            "candidates: initial_weights: weights=1: must be a string",
        ),
        (
            "candidates: [{backbone: resnet18}]\ntraining: {initial_weights: s3://b/w}",
            "training: initial_weights belongs to the candidates",
        ),
        (
            "candidates:\n  - {backbone: resnet18, pretraining: [wt], initial_weights: s3://b/w}\n"
            "  - {backbone: resnet18, pretraining: [none], initial_weights: imagenet}",
            "two need a task initial-model-resnet18 with different values: make one a variant",
        ),
    ],
)
def test_wrong_candidates_are_refused(tmp_path: Path, candidates: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        recipe(tmp_path, candidates, HEAD)


def test_a_compiled_task_tells_its_step_and_candidate(tmp_path: Path) -> None:
    read = recipe(tmp_path, f"seeds: [0, 1]\n{LARGE}ensemble: {{}}\n")

    compile_recipe(read, tmp_path / "compiled.yaml")

    tasks = graph.read(tmp_path / "compiled.yaml", []).tasks
    assert {task.name: (task.step, task.candidate) for task in tasks} == {
        task.name: (task.step, task.candidate) for task in pretraining(read)
    }


def test_a_recipe_of_too_many_tasks_is_refused_before_they_are_made() -> None:
    with pytest.raises(UserError, match="more than 500 tasks, the most of one pipeline: divide"):
        load("ablation-noise-drawn", ["seeds=[0, 1, 2, 3, 4, 5, 6, 7]"])


@pytest.mark.parametrize(
    "name",
    ["/", ".", "/dev/zero", "/dev/stdin.yaml", "../recipes", "x" * 100_000, "a\nb", "", "a\0b"],
)
def test_what_is_no_recipes_name_is_refused_at_once(name: str) -> None:
    with pytest.raises(UserError, match="no recipe") as refused:
        load(name)
    assert len(str(refused.value).splitlines()) == 1
    assert len(str(refused.value)) < 1_000


def test_a_device_and_a_folder_are_no_recipes(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "device.yaml").symlink_to("/dev/zero")

    for name in ("folder.yaml", "device.yaml"):
        with pytest.raises(UserError, match=f"no recipe '.*{name}'"):
            load(str(tmp_path / name))


STARTS = """
seeds: [0, 1]
candidates:
  - {backbone: resnet18, pretraining: [wt, lw, none], initial_weights: imagenet}
  - {backbone: resnet18, pretraining: [none], initial_weights: s3://b/w, variant: own}
  - {backbone: resnet18, pretraining: [none], initial_weights: none, variant: scratch}
  - {backbone: resnet34, pretraining: [none]}
finetune_large: {image_size: 256}
"""


def test_candidates_share_the_weights_that_they_start_from(tmp_path: Path) -> None:
    tasks = {task.name: task for task in pretraining(recipe(tmp_path, STARTS, HEAD))}

    fetched = {name: task.values for name, task in tasks.items() if task.step == "initial_model"}
    assert {name: (each["weights"], each["backbone"]) for name, each in fetched.items()} == {
        "initial-model-resnet18": ("imagenet", "resnet18"),
        "initial-model-resnet18-own": ("s3://b/w", "resnet18"),
    }
    started = {
        name: task.inputs["initial_model"].task
        for name, task in tasks.items()
        if "initial_model" in task.inputs and "large" not in name and "seed1" in name
    }
    assert started == {
        "wt-pretrain-resnet18-seed1": "initial-model-resnet18",
        "lw-pretrain-resnet18-seed1": "initial-model-resnet18",
        "finetune-resnet18-wt-seed1": "wt-pretrain-resnet18-seed1",
        "finetune-resnet18-lw-seed1": "lw-pretrain-resnet18-seed1",
        "finetune-resnet18-none-seed1": "initial-model-resnet18",
        "finetune-resnet18-none-own-seed1": "initial-model-resnet18-own",
    }


def test_a_section_gives_all_candidates_weights_and_the_form_changes_them(tmp_path: Path) -> None:
    text = """
form: [initial_model_weights]
initial_model: {weights: imagenet}
candidates:
  - {backbone: resnet18}
  - {backbone: resnet34, initial_weights: none}
"""
    compile_recipe(recipe(tmp_path, text, HEAD), tmp_path / "compiled.yaml")

    tasks = graph.read(tmp_path / "compiled.yaml", ["initial_model_weights=s3://b/w"]).tasks

    (fetched,) = [task for task in tasks if task.step == "initial_model"]
    assert fetched.parameters["weights"] == "s3://b/w"
    assert [task.name for task in tasks if "initial_model" in task.inputs] == [
        "finetune-resnet18-none"
    ]


VARIANT = """
candidates:
  - {backbone: resnet18, pretraining: [wt, none]}
  - {backbone: resnet18, pretraining: [none], variant: longer, finetune: {epochs: 40}}
"""


def test_a_variants_values_go_before_the_forms_and_the_recipes(tmp_path: Path) -> None:
    read = recipe(
        tmp_path, "finetune: {epochs: 20}\nfinetune_large: {image_size: 256}\n", HEAD + VARIANT
    )
    plain, longer = read.candidates[1:]

    assert [str(each.name) for each in read.candidates] == [
        "resnet18-wt",
        "resnet18-none",
        "resnet18-none-longer",
    ]
    form = {"finetune_epochs": "F"}
    assert read.resolve("finetune", "epochs", form, plain) == "F"
    assert read.resolve("finetune", "epochs", form, longer) == 40
    assert read.resolve("finetune_large", "epochs", form, longer) == 40  # inherited


def compiled(tmp_path: Path, text: str, head: str) -> dict[str, graph.Task]:
    compile_recipe(recipe(tmp_path, text, head), tmp_path / "compiled.yaml")
    return {task.name: task for task in graph.read(tmp_path / "compiled.yaml", []).tasks}


def test_candidates_share_the_tasks_that_are_the_same(tmp_path: Path) -> None:
    text = """
candidates:
  - {backbone: resnet18, pretraining: [wt, none]}
  - {backbone: resnet18, pretraining: [wt], variant: longer, finetune: {epochs: 40}}
  - {backbone: resnet18, pretraining: [wt], variant: titles, tagging: {fields: title}}
"""

    tasks = compiled(tmp_path, "", HEAD + text)

    assert set(tasks) == {
        "ingest",
        "tagging",
        "tagging-titles",
        "wt-pretrain-resnet18",
        "wt-pretrain-resnet18-titles",
        "finetune-resnet18-wt",
        "finetune-resnet18-none",
        "finetune-resnet18-wt-longer",
        "finetune-resnet18-wt-titles",
        "compare",
    }
    assert tasks["finetune-resnet18-wt-longer"].parameters["epochs"] == 40
    assert tasks["tagging-titles"].parameters["fields"] == "title"
    initial = {
        name: task.inputs["initial_model"].task
        for name, task in tasks.items()
        if "initial_model" in task.inputs
    }
    assert initial == {
        "finetune-resnet18-wt": "wt-pretrain-resnet18",
        "finetune-resnet18-wt-longer": "wt-pretrain-resnet18",
        "finetune-resnet18-wt-titles": "wt-pretrain-resnet18-titles",
    }


def test_a_variant_with_data_of_its_own_has_every_stage_of_its_own(tmp_path: Path) -> None:
    text = """
candidates:
  - {backbone: resnet18, pretraining: [lw]}
  - {backbone: resnet18, pretraining: [lw], variant: noisy, ingest: {dataset: elsewhere}}
"""

    tasks = compiled(tmp_path, "", HEAD + text)

    noisy = {name for name in tasks if name.endswith("-noisy")}
    assert noisy == {
        "ingest-noisy",
        "weighting-noisy",
        "lw-pretrain-resnet18-noisy",
        "finetune-resnet18-lw-noisy",
    }
    for name in noisy:
        assert all(source.task.endswith("-noisy") for source in tasks[name].inputs.values())


def test_seeds_repeat_what_trains_and_nothing_else(tmp_path: Path) -> None:
    rounds = "finetune_again: {}\nensemble: {}\n"

    tasks = compiled(tmp_path, f"seeds: [3, 5]\n{rounds}", HEAD + BACKBONE)

    assert {name for name in tasks if "seed" not in name} == {
        "ingest",
        "tagging",
        "compare",
    }
    for seed in (3, 5):
        last = f"-seed{seed}"
        mine = {name: task for name, task in tasks.items() if name.endswith(last)}
        assert {name.removesuffix(last) for name in mine} == {
            "wt-pretrain-resnet18",
            "finetune-resnet18-wt",
            "finetune-resnet18-none",
            "pseudo-label",
            "finetune-again-resnet18-wt",
            "finetune-again-resnet18-none",
            "ensemble",
        }
        for task in mine.values():
            assert task.parameters.get("seed", seed) == seed
            before = {name for name in task.dependencies if "seed" in name}
            assert all(name.endswith(last) for name in before)


def test_what_is_compared_is_named_in_the_order_of_its_inputs(tmp_path: Path) -> None:
    text = "seeds: [0, 1]\nensemble: {}\n"

    compare = compiled(tmp_path, text, HEAD + BACKBONE)["compare"]

    sources = [compare.inputs[f"predictions_{number}"].task for number in range(6)]
    names = json.loads(compare.parameters["names"])["predictions"]
    assert [Task(each.pop("step"), Name(**each), {}, {}).name for each in names] == sources


def test_the_ensemble_reads_the_models_of_all_rounds_and_resolutions(tmp_path: Path) -> None:
    text = LARGE + "finetune_again: {}\nfinetune_again_large: {}\nensemble: {}\nseeds: [0, 1]\n"

    tasks = compiled(tmp_path, text, HEAD + BACKBONE)

    for seed in (0, 1):
        found = [source.task for source in tasks[f"ensemble-seed{seed}"].inputs.values()]
        trained = [
            name for name in tasks if name.startswith("finetune") and name.endswith(f"seed{seed}")
        ]
        assert len(trained) == 8
        assert sorted(found) == sorted([*trained, "ingest"])
        # Labels are given by the last of the first round alone.
        teachers = {source.task for source in tasks[f"pseudo-label-seed{seed}"].inputs.values()}
        large = {name for name in trained if name.startswith("finetune-large")}
        assert teachers == {"ingest", *large}


def test_multi_task_pretraining_reads_keywords_and_weights(tmp_path: Path) -> None:
    text = "candidates: [{backbone: resnet18, pretraining: [multitask]}]\n"

    tasks = compiled(tmp_path, "", HEAD + text)

    inputs = tasks["multitask-pretrain-resnet18"].inputs
    assert (inputs["keywords"].task, inputs["weights"].task) == ("tagging", "weighting")
    assert "finetune-resnet18-multitask" in tasks


def test_a_recipe_takes_from_another_what_it_does_not_say(tmp_path: Path) -> None:
    text = "extends: paper\ncandidates: [{backbone: resnet18}]\nfinetune_large: {epochs: 3}\n"

    read, base = recipe(tmp_path, text, ""), load("paper")

    assert read.name == base.name
    assert [str(each.name) for each in read.candidates] == ["resnet18-none"]
    large = STEPS["finetune_large"].arguments()
    values = {name: read.resolve("finetune_large", name, {}) for name in large}
    below = {name: base.resolve("finetune_large", name, {}) for name in large}
    assert values == below | {"epochs": 3}
    assert "wt_pretrain" not in {task.step for task in pretraining(read)}


def test_a_recipe_leaves_out_steps_of_the_one_that_it_extends(tmp_path: Path) -> None:
    text = "extends: sample\nwithout: [finetune_large, finetune_again, audit]\n"

    read = recipe(tmp_path, text, "")

    assert {task.step for task in pretraining(read)} == {
        "ingest",
        "tagging",
        "weighting",
        "wt_pretrain",
        "lw_pretrain",
        "finetune",
        "ensemble",
        "compare",
    }
    assert read.resolve("finetune", "epochs", {}) == load("sample").resolve(
        "finetune", "epochs", {}
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("without: [ensembl]", "no section 'ensembl' to leave out; did you mean ensemble?"),
        ("without: ensemble", "must be a list, such as"),
        ("without: [ensemble]\nensemble: {}", "ensemble is left out, and has a section"),
    ],
)
def test_what_cannot_be_left_out_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        recipe(tmp_path, f"extends: sample\n{text}\n", "")


def test_settings_go_before_the_recipes_values() -> None:
    settings = ["finetune.epochs=20", "finetune.learning_rate=1e-3", "seeds=[0, 1]"]

    read = load("sample", [*settings, "training.gpus=2", "training.accumulation_steps=2"])

    assert read.resolve("finetune", "epochs", {}) == 20
    assert read.fields()["finetune_epochs"].default == 20
    assert read.resolve("finetune_again", "epochs", {}) == 20  # inherited
    assert read.resolve("finetune", "learning_rate", {}) == 0.001
    assert read.resolve("finetune", "gpus", {}) == "2"  # a string to KFP
    assert read.seeds == (0, 1)
    base = load("sample")
    assert (read.name, read.candidates) == (base.name, base.candidates)
    assert set(read.form) == set(base.form)


def test_settings_add_and_leave_out_steps_with_their_fields(tmp_path: Path) -> None:
    text = "form: [finetune_large_epochs]\n" + LARGE
    path = tmp_path / "test.yaml"
    path.write_text(HEAD + BACKBONE + text)

    read = load(str(path), ["without=[finetune_large]", "ensemble={}"])

    steps = {task.step for task in pretraining(read)}
    assert "ensemble" in steps and "finetune_large" not in steps
    assert "finetune_large_epochs" not in read.form


def test_settings_of_candidates_leave_sections_of_others_unused() -> None:
    candidates = "candidates=[{backbone: resnet18, pretraining: [wt]}]"
    without = "without=[audit, pseudo_label, finetune_again, finetune_again_large]"
    read = load("sample", [candidates, without])

    assert {"weighting", "lw_pretrain"}.isdisjoint(task.step for task in pretraining(read))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("finetune.epochs", "--set finetune.epochs: write step.parameter=value"),
        ("finetun.epochs=1", "no step 'finetun'; did you mean finetune"),
        ("finetune_epochs=1", "no section 'finetune_epochs'; did you mean finetune.epochs?"),
        ("name=other", "no section 'name'"),
        ("finetune.epoch=1", "--set finetune.epoch=1: finetune: .* did you mean epochs?"),
        ("finetune.epochs=0", "--set finetune.epochs=0: finetune: epochs=0: must be at least 1"),
        ("finetune.epochs=[", "is not YAML"),
        ("finetune=3", "finetune: must be a mapping"),
        ("without=[finetun]", "no section 'finetun' to leave out"),
        ("tagging.tagger=gs://x", "must be a folder"),
    ],
)
def test_a_setting_that_is_wrong_is_named(setting: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load("demo", [setting])


@pytest.mark.parametrize(
    ("pretraining_", "steps"),
    [
        ("none", set()),
        ("wt", {"tagging"}),
        ("lw", {"weighting"}),
        ("multitask", {"tagging", "weighting"}),
    ],
)
def test_what_nothing_reads_is_not_run(tmp_path: Path, pretraining_: str, steps: set[str]) -> None:
    text = f"candidates: [{{backbone: resnet18, pretraining: [{pretraining_}]}}]\n"

    tasks = pretraining(recipe(tmp_path, "", HEAD + text))

    assert {task.step for task in tasks} & {"tagging", "weighting"} == steps


SECOND_ROUND = "finetune_again: {}\nweighting: {fallback_weight: 0.3}\n"


def test_texts_are_weighted_for_pseudo_labels_where_these_are_to_heed_them(tmp_path: Path) -> None:
    text = SECOND_ROUND + "pseudo_label: {with_texts: true}\n"
    tasks = pretraining(recipe(tmp_path, text))

    (labelling,) = [task for task in tasks if task.step == "pseudo_label"]
    assert labelling.inputs["weights"] == Output("weighting", "weights")
    assert labelling.inputs["silent_weight"] == 0.3
    assert "weighting" in {task.step for task in tasks}


def test_else_pseudo_labels_read_no_weights(tmp_path: Path) -> None:
    tasks = pretraining(recipe(tmp_path, "finetune_again: {}\n"))

    (labelling,) = [task for task in tasks if task.step == "pseudo_label"]
    assert "weights" not in labelling.inputs
    assert "weighting" not in {task.step for task in tasks}
    with pytest.raises(UserError, match="nothing in this recipe uses this step"):
        recipe(tmp_path, SECOND_ROUND)


def test_a_form_cannot_ask_for_texts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="pseudo_label_with_texts' cannot be a field"):
        recipe(tmp_path, "finetune_again: {}\nform: [pseudo_label_with_texts]\n")


def test_a_section_that_is_no_mapping_is_refused_over_another_recipe_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="line 2: finetune: must be a mapping"):
        recipe(tmp_path, "extends: demo\nfinetune: [1]\n", "")


def test_a_variant_with_gpus_runs_where_gpus_are(tmp_path: Path) -> None:
    own = "{backbone: resnet18, pretraining: [lw], variant: own, weighting: {gpus: '1'}}"
    read = recipe(tmp_path, f"candidates: [{own}]\n", HEAD)

    (weighting,) = [task for task in pretraining(read) if task.step == "weighting"]

    assert weighting.values["node_selector"] == Field("gpu_node_selector")
    assert weighting.values["gpu_type"] == Field("gpu_type")


def test_a_recipe_draws_its_data(tmp_path: Path) -> None:
    read = recipe(tmp_path, "drawn: {somewhere: {train_images: 500, wrong_images: 0.5}}\n")

    assert read.drawn["somewhere"].train_images == 500
    assert read.drawn["somewhere"].wrong_images == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("drawn: {somewhere: {colour: 1}}", "drawn: somewhere: no setting 'colour'"),
        ("drawn: somewhere", "must map folders to settings"),
        ("seeds: 5", r"seeds: 5: must be distinct integers"),
        ("seeds: [1, 1]", r"seeds: \[1, 1\]"),
        ("seeds: []", r"seeds: \[\]"),
        ("seeds: [1]\ntraining: {seed: 3}", r"training: seeds=\[1\] sets it"),
        ("seeds: [1]\nform: [training_seed]", r"training_seed: seeds=\[1\] sets it"),
    ],
)
def test_wrong_seeds_and_data_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        recipe(tmp_path, text)


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        ("[{backbone: a, variant: x}]", "a variant must have values of its own"),
        ("[{backbone: a, finetune: {epochs: 1}}]", "a variant must have values of its own"),
        ("[{backbone: a, variant: a-b, finetune: {epochs: 1}}]", "use a-z and 0-9"),
        ("[{backbone: a, variant: seed1, finetune: {epochs: 1}}]", "not like seed1"),
        ("[{backbone: a, variant: x, finetune: {epoch: 1}}]", "x: finetune: no parameter 'epoch'"),
        ("[{backbone: a, variant: x, finetune: {epochs: a}}]", "x: finetune: epochs='a'"),
        ("[{backbone: a, variant: x, finetune: 1}]", "must be a mapping of parameters"),
    ],
)
def test_wrong_variants_are_refused(tmp_path: Path, candidates: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        recipe(tmp_path, "", f"{HEAD}candidates: {candidates}\n")


def test_models_of_different_data_are_not_averaged(tmp_path: Path) -> None:
    text = """
candidates:
  - {backbone: resnet18}
  - {backbone: resnet18, variant: noisy, ingest: {dataset: elsewhere}}
ensemble: {}
"""
    with pytest.raises(UserError, match="ensemble: its models must share a data set"):
        recipe(tmp_path, "", HEAD + text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: x\ndescription: \xe9t\xe9\n", "line 2: not UTF-8: save the file in that encoding"),
        (b"name: 2020\n", "name: 2020: must be text: put it in quotes"),
        (b"[]\n", "a recipe must be a mapping with a name"),
    ],
)
def test_a_file_that_is_no_recipe_is_refused_in_a_sentence(
    content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "x.yaml").write_bytes(content)

    with pytest.raises(UserError, match=message):
        load(str(tmp_path / "x.yaml"))


AUDITED = HEAD + "candidates: [{{backbone: resnet18, pretraining: [{}]}}]\n"


@pytest.mark.parametrize(
    ("pretrainings", "judge", "start"),
    [
        ("none, lw, wt", "resnet18-wt", "wt-pretrain-resnet18"),
        # These have seen the labels: a model from scratch judges them.
        ("lw, multitask", "resnet18-none", None),
        ("none", "resnet18-none", None),
    ],
)
def test_an_audit_starts_from_a_model_that_has_not_seen_the_labels(
    tmp_path: Path, pretrainings: str, judge: str, start: str | None
) -> None:
    text = "audit: {folds: 3}\nseeds: [5, 6]\nweighting: {fallback_weight: 0.3}\n"
    tasks = compiled(tmp_path, text, AUDITED.format(pretrainings))

    (audit,) = [task for task in tasks.values() if task.step == "audit"]
    assert audit.name == f"audit-{judge}-seed5"
    assert audit.inputs["weights"].task == "weighting"
    assert "labels" in audit.inputs
    found = audit.inputs.get("initial_model")
    assert (found and found.task) == (start and f"{start}-seed5")
    values = {name: audit.parameters[name] for name in ("folds", "seed", "silent_weight")}
    assert values == {"folds": 3, "seed": 5, "silent_weight": 0.3}


def test_an_audit_has_finetunings_values(tmp_path: Path) -> None:
    text = "finetune: {epochs: 7, learning_rate: 0.3}\naudit: {learning_rate: 0.2}\n"
    read = recipe(tmp_path, text, AUDITED.format("wt"))

    (audit,) = [task for task in pretraining(read) if task.step == "audit"]
    assert (audit.values["epochs"], audit.values["learning_rate"]) == (7, 0.2)
