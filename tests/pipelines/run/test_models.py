import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.shared.stage.errors import UserError
from pipelines.run import ending, models
from pipelines.run.record import RunRecord, TaskRecord
from tests import comparisons, tiny_models
from tests.candidates import named

IMAGES = 200


def trained(folder: Path, step: str, candidate: str, score: float = 0.5) -> TaskRecord:
    """Save the model that a task would have made."""
    name = named(candidate).task(step)
    model = tiny_models.save(
        folder / "artifacts" / name / "0123" / "model", ["a", "b"], score=score
    )
    return task(name, step, candidate, model=model)


def task(name: str, step: str, candidate: str = "", **outputs: Path) -> TaskRecord:
    return TaskRecord(
        name=name,
        stage="finetune",
        step=step,
        candidate=named(candidate),
        dependencies=[],
        parameters={},
        status="ran",
        outputs={output: str(path) for output, path in outputs.items()},
    )


def compared(folder: Path, accuracies: dict[tuple[str, str], float], labels: int = 5) -> TaskRecord:
    """Compare classifiers that are right of a share of each class's images."""
    images = comparisons.Images(folder / "compare", np.arange(IMAGES) % labels)
    right = {
        whose: np.arange(IMAGES) // labels < share * IMAGES / labels
        for whose, share in accuracies.items()
    }
    comparisons.run(folder / "compare", images, right)
    return task("compare", "compare", comparison=folder / "compare" / "comparison.json")


def run(*tasks: TaskRecord) -> RunRecord:
    return RunRecord(pipeline="p", recipe="r", parameters={}, started=0.0, tasks=list(tasks))


def links(folder: Path) -> dict[str, str]:
    """Return where the links lead, relative to the run's folder."""
    found = [each for each in (folder, *folder.glob("models")) for each in each.iterdir()]
    return {
        str(path.relative_to(folder)): str(path.resolve().relative_to(folder))
        for path in found
        if path.is_symlink()
    }


def ended(record: RunRecord, folder: Path) -> dict[str, str]:
    models.link(record, folder)
    return dict(ending.lines(record, folder, folder / "report.html"))


def test_the_best_model_is_that_of_the_comparison_whatever_the_models_say(tmp_path: Path) -> None:
    tasks = [
        trained(tmp_path, "finetune", "net-wt", score=0.1),
        trained(tmp_path, "finetune", "net-none", score=0.9),
        trained(tmp_path, "finetune_large", "net-wt", score=0.2),
        trained(tmp_path, "finetune_large", "net-none", score=0.8),
        compared(
            tmp_path,
            {
                ("finetune", "net-wt"): 0.7,
                ("finetune", "net-none"): 0.4,
                ("finetune_large", "net-wt"): 0.6,
                ("finetune_large", "net-none"): 0.5,
            },
        ),
    ]

    models.link(run(*tasks), tmp_path)

    assert links(tmp_path) == {
        "best": "artifacts/finetune-net-wt/0123/model",
        "models/net-wt": "artifacts/finetune-large-net-wt/0123/model",
        "models/net-none": "artifacts/finetune-large-net-none/0123/model",
    }
    assert not os.path.isabs(os.readlink(tmp_path / "models" / "net-wt"))


def test_of_several_seeds_it_is_the_best_of_the_best_candidate(tmp_path: Path) -> None:
    accuracies = {"net-wt-seed0": 0.6, "net-wt-seed1": 0.7, "net-none-seed0": 0.8}
    accuracies["net-none-seed1"] = 0.2
    tasks = [trained(tmp_path, "finetune", name) for name in accuracies]
    shares = {("finetune", name): share for name, share in accuracies.items()}

    lines = ended(run(*tasks, compared(tmp_path, shares)), tmp_path)

    assert links(tmp_path)["best"] == "artifacts/finetune-net-wt-seed1/0123/model"
    assert lines["best model"].endswith("best: net, WT, seed 1, finetune")
    assert lines["accuracy"].startswith("65.0 % [")
    assert sorted(links(tmp_path)) == ["best", *sorted(f"models/{name}" for name in accuracies)]


def test_a_run_that_did_not_get_to_the_comparison_has_the_models_own_scores(
    tmp_path: Path,
) -> None:
    failed = task("finetune-large-net-wt", "finetune_large", "net-wt")
    one, two = (trained(tmp_path, "finetune", f"net-{w}", s) for w, s in (("wt", 0.4), ("lw", 0.5)))

    lines = ended(run(one, two, failed, task("compare", "compare")), tmp_path)

    assert links(tmp_path) == {
        "best": "artifacts/finetune-net-lw/0123/model",
        "models/net-wt": "artifacts/finetune-net-wt/0123/model",
        "models/net-lw": "artifacts/finetune-net-lw/0123/model",
    }
    assert lines["accuracy"] == "50.0 %"


def test_a_rerun_redirects_links_and_removes_stale_ones(tmp_path: Path) -> None:
    tasks = [trained(tmp_path, "finetune", "net-wt"), trained(tmp_path, "finetune", "net-lw")]
    suspects = task("audit", "audit", suspects=tmp_path)
    models.link(run(*tasks, suspects), tmp_path)
    new = tiny_models.save(tmp_path / "artifacts" / "new", ["a", "b"])

    models.link(run(task("finetune-net-wt", "finetune", "net-wt", model=new)), tmp_path)

    assert links(tmp_path) == {"best": "artifacts/new", "models/net-wt": "artifacts/new"}


def test_a_run_that_failed_at_once_has_no_links(tmp_path: Path) -> None:
    models.link(run(trained(tmp_path, "finetune", "net-wt")), tmp_path)

    lines = ended(run(task("ingest", "ingest"), task("compare", "compare")), tmp_path)

    assert links(tmp_path) == {}
    assert list(lines) == ["report"]


def test_pretrained_models_are_no_candidates(tmp_path: Path) -> None:
    models.link(run(trained(tmp_path, "wt_pretrain", "net", score=0.9)), tmp_path)

    assert links(tmp_path) == {}


def test_what_people_have_put_there_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "best").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "notes.txt").write_text("mine")

    with pytest.raises(UserError, match=r"best: the run keeps a link .*: move what is there"):
        models.link(run(trained(tmp_path, "finetune", "net-wt")), tmp_path)

    assert (tmp_path / "models" / "notes.txt").read_text() == "mine"


def test_a_better_ensemble_is_told_with_the_last_models_together(tmp_path: Path) -> None:
    names = [f"net-{way}-seed{seed}" for seed in (0, 1) for way in ("wt", "lw")]
    tasks = [trained(tmp_path, "finetune", name) for name in names]
    shares = {("finetune", name): 0.5 for name in names}
    shares |= {("ensemble", "seed0"): 0.6, ("ensemble", "seed1"): 0.7}

    lines = ended(run(*tasks, compared(tmp_path, shares)), tmp_path)

    assert lines["accuracy"].endswith(" (95 % intervals)")
    assert "; ensemble 65.0 % [" in lines["accuracy"]
    assert f"{tmp_path}/models/*-seed1 --images" in lines["together"]
    found = sorted(path.name for path in (tmp_path / "models").glob("*-seed1"))
    assert found == ["net-lw-seed1", "net-wt-seed1"]


def test_a_worse_ensemble_is_not_mentioned(tmp_path: Path) -> None:
    shares = {("finetune", "net-wt"): 0.6, ("ensemble", ""): 0.5}

    lines = ended(
        run(trained(tmp_path, "finetune", "net-wt"), compared(tmp_path, shares)), tmp_path
    )

    assert list(lines) == ["best model", "accuracy", "use it", "report"]
    assert "ensemble" not in lines["accuracy"]


def test_a_class_with_one_image_leaves_no_interval(tmp_path: Path) -> None:
    compare = compared(tmp_path, {("finetune", "net-wt"): 0.5}, labels=5)
    assert models.best(run(trained(tmp_path, "finetune", "net-wt"), compare)) is not None
    images = comparisons.Images(tmp_path / "few", np.array([0, 0, 0, 1]))
    right = {("finetune", "net-wt"): np.array([True, True, True, False])}
    comparisons.run(tmp_path / "few", images, right)
    compare.outputs["comparison"] = str(tmp_path / "few" / "comparison.json")

    lines = ended(run(trained(tmp_path, "finetune", "net-wt"), compare), tmp_path)

    assert lines["accuracy"] == "50.0 %"


def test_the_suspects_are_linked_and_told(tmp_path: Path) -> None:
    (tmp_path / "artifacts" / "suspects").mkdir(parents=True)
    rows = pa.table({"id": ["a.jpg", "b.jpg"]})
    pq.write_table(rows, tmp_path / "artifacts" / "suspects" / "suspects.parquet")
    audit = task("audit", "audit", suspects=tmp_path / "artifacts" / "suspects")

    lines = ended(run(audit), tmp_path)

    assert links(tmp_path) == {"suspects": "artifacts/suspects"}
    assert lines["suspects"] == f"{tmp_path}/suspects/suspects.csv: 2 labels look wrong"


def test_paths_are_as_people_type_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "runs" / "my run"
    monkeypatch.chdir(tmp_path)

    lines = ended(run(trained(folder, "finetune", "net-wt")), folder)

    assert lines["best model"] == "runs/my run/best: net, WT, finetune"
    assert lines["use it"] == "python -m pipelines.predict 'runs/my run' --images FOLDER"
    assert lines["report"] == "runs/my run/report.html"
