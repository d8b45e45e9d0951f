import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from components.compare import results
from components.compare.names import Names
from components.shared.data import halves
from components.shared.data.evaluation import EXTERNAL, EXTERNAL_LABELS, write_title
from components.shared.stage.errors import UserError
from pipelines.tasks import Task, described
from tests.candidates import named
from tests.comparisons import CLASSES, Images, run, write
from tests.synthetic import image_set

SHARES = {"wt": 0.7, "lw": 0.6, "none": 0.5, "none-longer": 0.45}


def labels(count: int) -> NDArray[np.int64]:
    return np.arange(count) % len(CLASSES)


def figures(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "comparison.json").read_text())
    return found


def pairs(differences: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["of"]["candidate"], each["to"]["candidate"]) for each in differences]


def right_of(
    seeds: range, count: int, step: str = "finetune", more: float = 0.0
) -> dict[tuple[str, str], NDArray[np.bool_]]:
    """Draw who is right of what: images are as hard for all, seeds differ a little."""
    hard = np.random.default_rng(1).random(count)
    right = {}
    for seed in seeds:
        random = np.random.default_rng([2, seed])
        for whose, share in SHARES.items():
            luck = 0.02 * random.standard_normal()
            name = f"net-{whose}-seed{seed}"
            right[step, name] = 0.8 * hard + 0.2 * random.random(count) < share + luck + more
    return right


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("five")
    images = Images(folder, labels(1200))
    first, second = (
        right_of(range(5), 1200, step, more)
        for step, more in (("finetune", 0.0), ("finetune_large", 0.05))
    )
    together = {
        ("ensemble", f"seed{seed}"): first["finetune", f"net-wt-seed{seed}"]
        | first["finetune", f"net-lw-seed{seed}"]
        for seed in range(5)
    }
    run(folder, images, first | second | together)
    return folder


def test_means_and_errors_are_those_over_the_seeds(folder: Path) -> None:
    right = right_of(range(5), 1200)
    accuracies = [right["finetune", f"net-wt-seed{seed}"].mean() for seed in range(5)]
    found = next(
        each
        for each in figures(folder)["accuracy"]
        if each["candidate"] == "net-wt" and each["step"] == "finetune"
    )
    assert found["top1"]["mean"] == pytest.approx(np.mean(accuracies))
    assert found["top1"]["error"] == pytest.approx(np.std(accuracies, ddof=1) / 5**0.5)
    assert found["seeds"] == [0, 1, 2, 3, 4]


def test_differences_are_paired_by_seed(folder: Path) -> None:
    right = right_of(range(5), 1200)
    differences = [
        right["finetune", f"net-wt-seed{seed}"].mean()
        - right["finetune", f"net-none-seed{seed}"].mean()
        for seed in range(5)
    ]
    found = figures(folder)["gains"][0]
    assert (found["of"]["candidate"], found["to"]["candidate"]) == ("net-wt", "net-none")
    assert found["mean"] == pytest.approx(np.mean(differences))
    half = 2.776445 * np.std(differences, ddof=1) / 5**0.5  # Student's t of four degrees of freedom
    assert found["seeds"] == pytest.approx(
        [np.mean(differences) - half, np.mean(differences) + half]
    )


def test_pretrained_candidates_meet_every_variant_of_scratch(folder: Path) -> None:
    gains = figures(folder)["gains"]
    assert pairs([each for each in gains if each["of"]["step"] == "finetune"]) == [
        ("net-wt", "net-none"),
        ("net-wt", "net-none-longer"),
        ("net-lw", "net-none"),
        ("net-lw", "net-none-longer"),
        ("net-none-longer", "net-none"),
    ]


def test_variants_with_a_scratch_of_their_own_meet_that_one(tmp_path: Path) -> None:
    images = Images(tmp_path, labels(60))
    right = {
        ("finetune", f"net-{name}"): np.arange(60) % 7 < number
        for number, name in enumerate(["wt-noisy", "none-noisy", "none-clean", "wt-titles", "none"])
    }
    run(tmp_path, images, right)
    assert pairs(figures(tmp_path)["gains"]) == [
        ("net-wt-noisy", "net-none-noisy"),
        ("net-none-noisy", "net-none"),
        ("net-none-clean", "net-none"),
        ("net-wt-titles", "net-none"),
    ]


def test_pretrained_variants_meet_the_plain_candidate(tmp_path: Path) -> None:
    images = Images(tmp_path, labels(60))
    right = {
        (step, f"net-{name}"): np.arange(60) % 7 < number
        for number, name in enumerate(["wt", "wt-cosine", "lw-cosine", "none", "none-longer"])
        for step in ("finetune", "finetune_large")
    }
    run(tmp_path, images, right)
    variants = figures(tmp_path)["variants"]
    assert pairs(variants) == 2 * [("net-wt-cosine", "net-wt")]
    assert [each["of"]["step"] for each in variants] == ["finetune", "finetune_large"]
    assert [each["to"]["step"] for each in variants] == ["finetune", "finetune_large"]
    assert variants[0]["mean"] == pytest.approx(1 / 7, abs=0.02)
    assert "What each variant adds" in (tmp_path / "report.html").read_text()


def test_steps_are_compared_with_those_before_and_the_ensemble_with_the_best(folder: Path) -> None:
    tricks = figures(folder)["tricks"]
    assert [(each["of"]["step"], each["to"]["step"]) for each in tricks] == [
        *[("finetune_large", "finetune")] * 4,
        ("ensemble", "finetune_large"),
    ]
    assert tricks[-1]["to"]["candidate"] == "net-wt"


def test_a_resolution_is_compared_with_what_it_continues_and_a_round_with_the_one_before(
    tmp_path: Path,
) -> None:
    steps = ["finetune", "finetune_large", "finetune_again", "finetune_again_large"]
    right = {(step, "net-wt"): np.arange(60) < 30 + 6 * i for i, step in enumerate(steps)}

    run(tmp_path, Images(tmp_path, labels(60)), right)

    found = {
        (each["of"]["step"], each["to"]["step"]): each["mean"]
        for each in figures(tmp_path)["tricks"]
    }
    assert found == pytest.approx(
        {
            ("finetune_large", "finetune"): 0.1,
            ("finetune_again", "finetune"): 0.2,
            ("finetune_again_large", "finetune_again"): 0.1,
            ("finetune_again_large", "finetune_large"): 0.2,
        }
    )


def test_the_ensemble_is_compared_with_the_best_of_its_members_of_any_step(tmp_path: Path) -> None:
    images, all60 = Images(tmp_path, labels(60)), np.arange(60)
    # The first step's WT is the best by the mean over the seeds: 48 and 42, where LW has 54 and 30.
    right = {
        (step, f"net-{way}-seed{seed}"): all60 < count
        for step, way, counts in [
            ("finetune", "wt", (48, 42)),
            ("finetune", "lw", (54, 30)),
            ("finetune_large", "wt", (36, 42)),
            ("finetune_large", "lw", (42, 36)),
        ]
        for seed, count in enumerate(counts)
    }
    right |= {("ensemble", f"seed{seed}"): all60 < 48 for seed in (0, 1)}

    run(tmp_path, images, right)

    found = figures(tmp_path)["tricks"][-1]
    assert found["of"] == {"step": "ensemble", "candidate": ""}
    assert found["to"] == {"step": "finetune", "candidate": "net-wt"}
    assert found["mean"] == pytest.approx(0.05)  # by seed, 0 and 6 of 60
    assert found["error"] == pytest.approx(0.05)
    low, high = found["both"]
    assert low < 0 < 0.05 < high


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"ensemble": ["the members"]}, "that has not chosen the members."),
        ({"finetune": ["the teachers"]}, "that has not chosen the teachers."),
        (
            {"finetune": ["the teachers"], "ensemble": ["the teachers", "the members"]},
            "that has not chosen the teachers and the members.",
        ),
    ],
)
def test_where_a_half_chose_anything_all_are_measured_on_the_other(
    tmp_path: Path, chosen: dict[str, list[str]], words: str
) -> None:
    images = Images(tmp_path, labels(600))
    chooses = halves.choosing(images.ids())
    right = right_of(range(1), 600)
    right["ensemble", "seed0"] = chooses | right["finetune", "net-wt-seed0"]

    run(tmp_path, images, right, chosen=chosen)

    truth, wt = labels(600)[~chooses], right["finetune", "net-wt-seed0"][~chooses]
    expected = np.mean([wt[truth == label].mean() for label in range(len(CLASSES))])
    means = {
        (each["step"], each["candidate"]): each["top1"]["mean"]
        for each in figures(tmp_path)["accuracy"]
    }
    assert means["finetune", "net-wt"] == pytest.approx(expected)
    assert means["ensemble", ""] == pytest.approx(expected)
    summary = (tmp_path / "summary.md").read_text()
    assert words in summary
    assert "on the half of the validation images that chose nothing" in summary
    assert figures(tmp_path)["chosen"] == [*dict.fromkeys(sum(chosen.values(), []))]


def test_models_of_an_earlier_version_are_not_compared_on_a_half(tmp_path: Path) -> None:
    images = Images(tmp_path, labels(600))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(halves, "REPORTED", "unknown then")
        write(tmp_path / "earlier.parquet", images, images.labels, labels(600) == 1)
    write(tmp_path / "now.parquet", images, images.labels, labels(600) == 2, chosen=["it"])
    tasks = [Task("finetune", named(each), {}, {}) for each in ("net-wt", "net-none")]
    paths = [tmp_path / name for name in ("earlier.parquet", "now.parquet")]
    with pytest.raises(UserError, match=r"earlier version.*train these models again"):
        results.compare(paths, Names.parse(described(tasks)), images.identity)


def test_curves_are_of_the_half_that_is_compared(tmp_path: Path) -> None:
    images = Images(tmp_path, labels(600))
    chooses = halves.choosing(images.ids())
    # WT ends where scratch does on the reported half alone, and below it on all images.
    right = {("finetune", "net-wt"): ~chooses, ("finetune", "net-none"): np.full(600, True)}
    for chosen, words in (({}, "never as good as"), ({"finetune": ["it"]}, "after 400 images")):
        run(tmp_path, images, right, chosen=chosen)
        assert words in (tmp_path / "summary.md").read_text()


def test_the_interval_for_other_images_is_that_of_their_mean(tmp_path: Path) -> None:
    """Of independent images, it is 1.96 standard errors to each side."""
    images, count = Images(tmp_path, labels(3000)), 3000
    random = np.random.default_rng(0)
    one, other = random.random(count) < 0.7, random.random(count) < 0.5
    run(tmp_path, images, {("finetune", "net-wt"): one, ("finetune", "net-none"): other})
    (gain,) = figures(tmp_path)["gains"]
    low, high = gain["images"]
    error = (one.astype(float) - other).std() / count**0.5
    assert gain["mean"] == pytest.approx(one.mean() - other.mean())
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)
    assert (high + low) / 2 == pytest.approx(gain["mean"], abs=0.1 * error)


def test_classes_weigh_the_same_however_many_images_they_have(tmp_path: Path) -> None:
    truth = np.repeat([0, 1], [90, 10])
    images = Images(tmp_path, truth)
    right = {("finetune", "net-wt"): truth == 1, ("finetune", "net-none"): truth == 5}
    run(tmp_path, images, right)
    found = figures(tmp_path)
    assert found["accuracy"][0]["top1"]["mean"] == 0.5
    assert found["gains"][0]["mean"] == 0.5


def test_one_seed_has_no_error_but_an_interval_over_images(tmp_path: Path) -> None:
    images = Images(tmp_path, labels(120))
    names = {name: name.replace("-seed0", "") for _, name in right_of(range(1), 120)}
    right = {(step, names[name]): each for (step, name), each in right_of(range(1), 120).items()}
    run(tmp_path, images, right)
    gain = figures(tmp_path)["gains"][0]
    assert "error" not in gain
    assert gain["images"][0] < gain["mean"] < gain["images"][1]
    assert "nan" not in (tmp_path / "report.html").read_text().lower()
    assert "nan" not in (tmp_path / "summary.md").read_text().lower()


def test_the_interval_for_both_is_no_narrower_than_either(folder: Path) -> None:
    found = figures(folder)
    for gain in [*found["gains"], *found["tricks"]]:
        low, high = gain["both"]
        assert low <= min(gain["seeds"][0], gain["images"][0])
        assert high >= max(gain["seeds"][1], gain["images"][1])


def test_a_class_with_a_single_image_leaves_no_interval_over_images(tmp_path: Path) -> None:
    """Fourteen images of eight classes once gave "+37.5 points [+29.2, +45.8]"."""
    truth = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5])
    images, random = Images(tmp_path, truth), np.random.default_rng(0)
    right = {
        ("finetune", f"net-{name}-seed{seed}"): random.random(14) < share
        for name, share in (("wt", 0.9), ("none", 0.4))
        for seed in range(3)
    }
    run(tmp_path, images, right)
    (gain,) = figures(tmp_path)["gains"]
    assert gain.keys() == {"of", "to", "mean", "error", "seeds"}
    (row,) = [
        line for line in (tmp_path / "summary.md").read_text().splitlines() if "| WT " in line
    ][1:2]
    assert [cell.strip() for cell in row.split("|")][5:7] == ["–", "–"]
    assert "points of WT over scratch</div>" in (tmp_path / "report.html").read_text()


def test_seeds_that_agree_by_chance_have_an_interval(tmp_path: Path) -> None:
    """Once it was "[−12.5, −12.5]"."""
    images = Images(tmp_path, labels(18))
    right = {
        ("finetune", f"net-{name}-seed{seed}"): np.arange(18) < number
        for name, number in (("wt", 12), ("none", 15))
        for seed in range(2)
    }
    run(tmp_path, images, right)
    (gain,) = figures(tmp_path)["gains"]
    assert gain["error"] == 0
    assert gain["seeds"][0] < gain["mean"] < gain["seeds"][1]


def test_the_summary_holds_what_the_page_holds(folder: Path) -> None:
    summary, page = (folder / "summary.md").read_text(), (folder / "report.html").read_text()
    lines = [line for line in summary.splitlines() if line.startswith("| WT, finetune")]
    assert "scratch, longer, finetune" in "".join(lines)
    for cell in (cell.strip() for cell in lines[0].split("|") if cell.strip()):
        assert f">{cell}</td>" in page


def test_costs_count_the_pretraining_and_when_scratch_was_reached(folder: Path) -> None:
    costs = (folder / "summary.md").read_text().partition("## Costs")[2]
    rows = {
        cells[1]: cells[2:]
        for cells in ([cell.strip() for cell in line.split("|")] for line in costs.splitlines())
        if len(cells) > 3
    }
    # The curve rises evenly to 0.7 in four points; scratch ends at 0.5.
    assert rows["WT, finetune"][:4] == [
        "400", "1,400", "14", "scratch at its end after 300 images",
    ]  # fmt: skip
    assert rows["scratch, finetune"][:4] == ["400", "400", "4", "–"]


def test_titles_are_escaped(folder: Path) -> None:
    page = (folder / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_metrics_are_few_and_of_the_last_step_in_percent(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    found = figures(folder)
    last = {
        each["candidate"]: round(100 * each["top1"]["mean"], 1)
        for each in found["accuracy"]
        if each["step"] in ("finetune_large", "ensemble")
    }
    gains = {
        (each["of"]["candidate"], each["to"]["candidate"]): round(100 * each["mean"], 1)
        for each in found["gains"]
        if each["of"]["step"] == "finetune_large"
    }
    assert metrics == {
        "top-1 %, WT": last["net-wt"],
        "top-1 %, LW": last["net-lw"],
        "top-1 %, scratch": last["net-none"],
        "top-1 %, ensemble": last[""],
        "points over scratch, WT": gains["net-wt", "net-none"],
        "points over scratch, LW": gains["net-lw", "net-none"],
    }


def test_metrics_have_the_same_names_whatever_the_backbones(tmp_path: Path) -> None:
    images = Images(tmp_path, labels(60))
    right = {
        ("finetune", f"{backbone}-{name}"): np.arange(60) % 7 < number
        for number, (backbone, name) in enumerate(
            itertools.product(
                ["resnet18", "resnest101e"], ["wt", "wt-titles", "none", "none-longer"]
            )
        )
    }
    run(tmp_path, images, right)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics.keys() == {"top-1 %, WT", "top-1 %, scratch", "points over scratch, WT"}


def test_predictions_of_other_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Images(tmp_path / "other", labels(30))
    Images(tmp_path, labels(60))
    right = {("finetune", "net-wt"): np.ones(30, bool)}
    with pytest.raises(UserError, match="of the same ingest"):
        run(tmp_path, other, right)


def test_each_of_the_predictions_needs_a_name(tmp_path: Path) -> None:
    images = Images(tmp_path, labels(60))
    right = {("finetune", "net-wt"): np.ones(60, bool)}
    with pytest.raises(UserError, match="names: 0 of 1"):
        run(tmp_path, images, right, names='{"predictions": []}')


def test_an_accuracy_has_an_interval_also_of_one_seed(tmp_path: Path) -> None:
    """Of independent images of one class, it is about 1.96 standard errors to each side."""
    count = 3000
    right = np.random.default_rng(0).random(count) < 0.7
    run(tmp_path, Images(tmp_path, labels(count)), {("finetune", "net-wt"): right})
    top1 = figures(tmp_path)["accuracy"][0]["top1"]
    low, high = top1["interval"]
    assert low < top1["mean"] < high
    assert (high - low) / 2 == pytest.approx(1.96 * (0.7 * 0.3 / count) ** 0.5, rel=0.1)


def test_an_accuracy_over_seeds_has_an_interval_for_both_sources_of_chance(folder: Path) -> None:
    for each in figures(folder)["accuracy"]:
        low, high = each["top1"]["interval"]
        assert low < each["top1"]["seeds"][0] < each["top1"]["seeds"][1] < high


def test_the_interval_of_an_accuracy_ends_at_none_and_at_all(tmp_path: Path) -> None:
    images = Images(tmp_path, labels(18))
    right = {
        ("finetune", "net-wt"): np.ones(18, bool),
        ("finetune", "net-none"): np.zeros(18, bool),
    }
    run(tmp_path, images, right)
    every, none = (each["top1"]["interval"] for each in figures(tmp_path)["accuracy"])
    assert (every[1], none[0]) == (1, 0)
    assert every[0] < 1 and none[1] > 0


def test_a_class_with_a_single_image_leaves_an_accuracy_without_interval(tmp_path: Path) -> None:
    images = Images(tmp_path, np.array([0, 0, 1]))
    run(tmp_path, images, {("finetune", "net-wt"): np.array([True, True, False])})
    assert figures(tmp_path)["accuracy"][0]["top1"].keys() == {"mean"}
    assert "- **Accuracy:** 50.0 %\n" in (tmp_path / "summary.md").read_text()


def test_the_best_is_named_by_the_task_that_has_it(tmp_path: Path) -> None:
    shares = {
        ("finetune", "net-wt-longer-seed0"): 30,
        ("finetune", "net-wt-longer-seed1"): 40,
        ("finetune", "net-none-seed0"): 45,
        ("finetune", "net-none-seed1"): 20,
        ("ensemble", "seed0"): 30,
        ("ensemble", "seed1"): 35,
    }
    right = {whose: np.arange(60) < number for whose, number in shares.items()}
    run(tmp_path, Images(tmp_path, labels(60)), right)
    assert figures(tmp_path)["best"] == {
        "model": {"step": "finetune", "candidate": "net-wt-longer-seed1"}
    }
    first, second, third, *_ = (tmp_path / "summary.md").read_text().splitlines()
    assert first == (
        "- **Best model:** WT, longer, finetune: the output `model` of the task "
        "`finetune-net-wt-longer-seed1`"
    )
    assert second.startswith("- **Accuracy:** 58.3 % [")
    assert third == "- **Use it:** `python -m pipelines.predict MODEL --images FOLDER`"


def test_a_better_ensemble_is_named_beside_it(tmp_path: Path) -> None:
    right = {
        (step, name): np.arange(60) < number
        for step, name, number in (("finetune", "net-wt", 30), ("ensemble", "", 31))
    }
    run(tmp_path, Images(tmp_path, labels(60)), right)
    assert figures(tmp_path)["best"]["ensemble"] == {"step": "ensemble", "candidate": ""}
    summary = (tmp_path / "summary.md").read_text()
    assert "; ensemble 51.7 % [" in summary
    assert (
        "; several average equally: the report of the task `ensemble` has its shares\n" in summary
    )


def test_the_summary_says_where_the_suspects_are(tmp_path: Path) -> None:
    tasks = [{"step": "finetune", "backbone": "net", "pretraining": "wt"}]
    names = {"predictions": tasks, "suspects": "audit"}
    right = {("finetune", "net-wt"): np.ones(60, bool)}
    run(tmp_path, Images(tmp_path, labels(60)), right, names=json.dumps(names))
    assert "the output `suspects` of the task `audit`\n" in (tmp_path / "summary.md").read_text()


@pytest.fixture
def external(tmp_path: Path) -> Images:
    """Sixty images of another data set, ten of each class."""
    pictures = [Image.new("RGB", (8, 8))] * 60
    ids = [f"val{number:06}.jpg" for number in range(60)]
    image_set(tmp_path / "shards", pictures, ids, at=tmp_path / EXTERNAL)
    write_title(tmp_path, "photo|net")
    return Images(tmp_path, labels(60), at=EXTERNAL_LABELS)


def test_an_external_validation_set_has_tables_of_its_own(external: Images, tmp_path: Path) -> None:
    shares = {"net-wt": (30, 48), "net-none": (24, 36), "": (36, 42)}
    right = {
        ("finetune" if name else "ensemble", name): np.arange(60) < inside
        for name, (inside, _) in shares.items()
    }
    outside = {name: (external, np.arange(60) < share) for name, (_, share) in shares.items()}

    run(tmp_path, Images(tmp_path, labels(60)), right, external=outside)

    found = figures(tmp_path)
    assert found["external"]["title"] == "photo|net"
    for where, column in ((found, 0), (found["external"], 1)):
        rows = {row["candidate"]: row["top1"] for row in where["accuracy"]}
        means = {name: row["mean"] for name, row in rows.items()}
        assert means == pytest.approx({name: shares[name][column] / 60 for name in shares})
        assert all(
            low < means[name] < high for name in rows for low, high in [rows[name]["interval"]]
        )
        (gain,) = where["gains"]
        expected = (shares["net-wt"][column] - shares["net-none"][column]) / 60
        assert gain["mean"] == pytest.approx(expected)
    # What is chosen is chosen on the validation images.
    assert found["best"]["ensemble"] == {"step": "ensemble", "candidate": ""}
    summary = (tmp_path / "summary.md").read_text()
    assert "- **Accuracy:** 50.0 % [" in summary
    assert "- **Accuracy on photo\\|net:** 80.0 % [" in summary
    assert "## Accuracy on photo\\|net\n\nTop-1 / top-5 accuracy" in summary
    assert "## Against scratch on photo\\|net\n" in summary
    assert "on 60 images that are for evaluation alone." in summary
    assert "Accuracy on photo|net</h2>" in (tmp_path / "report.html").read_text()


def test_all_external_images_count_where_a_half_of_the_others_has_chosen(
    external: Images, tmp_path: Path
) -> None:
    right = {("finetune", "net-wt"): np.arange(60) < 30, ("ensemble", ""): np.arange(60) < 36}
    outside = {name: (external, np.arange(60) < 45) for _, name in right}

    chosen = {"ensemble": ["the ensemble's members"]}
    run(tmp_path, Images(tmp_path, labels(60)), right, chosen=chosen, external=outside)

    found = figures(tmp_path)
    means = [row["top1"]["mean"] for row in found["external"]["accuracy"]]
    assert means == pytest.approx([0.75, 0.75])
    summary = (tmp_path / "summary.md").read_text()
    assert summary.count("that chose nothing") == 1


def test_predictions_without_the_external_images_are_refused(
    external: Images, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="finetune net-wt: made for 0 images"):
        run(tmp_path, Images(tmp_path, labels(60)), {("finetune", "net-wt"): np.ones(60, bool)})
