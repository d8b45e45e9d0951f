"""What a run's folder does not need any more is freed, and nothing else."""

import json
import os
from pathlib import Path

import pytest
from toy.pipelines import compiled, diamond

from pipelines import clean
from pipelines.engine.execution import execute
from pipelines.engine.folder import locked
from pipelines.run import record

DIGEST = "a" * 64  # of a shard


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder in which three runs have left outputs, the last one with `size=5`."""
    folder = tmp_path / "run"
    pipeline = compiled(diamond, tmp_path / "p.yaml")
    with locked(folder):
        for size in (3, 4, 5):
            execute(pipeline, folder, [f"size={size}"], jobs=2)
    return folder


def keys(folder: Path) -> dict[str, int]:
    """Return how many outputs of each task there are."""
    return {task.name: len(list(task.iterdir())) for task in (folder / "artifacts").iterdir()}


def outputs(folder: Path, name: str) -> Path:
    (task,) = (task for task in record.read(folder).tasks if task.name == name)
    return folder / "artifacts" / name / task.key


def said(caplog: pytest.LogCaptureFixture) -> dict[str, list[str]]:
    return {line.split()[0]: line.split()[1:] for line in caplog.messages}


def file(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


def image_set(folder: Path, *uris: str) -> None:
    """Give a task an image set with shards."""
    shards = [{"uri": uri, "bytes": 3, "images": 1, "sha256": DIGEST} for uri in uris]
    manifest = file(folder / "images" / "manifest.json", 0)
    manifest.write_text(json.dumps({"format": 1, "shards": shards}))


def test_without_yes_it_only_says_how_much(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    old = next(
        each for each in (run / "artifacts" / "total").iterdir() if each != outputs(run, "total")
    )
    file(old / "large", 3_000_000)

    clean.main([str(run)])

    assert keys(run) == {"count-left": 3, "count-right": 1, "total": 3}
    assert said(caplog)["artifacts"] == ["3.0", "MB", "→", "0.0", "MB"]
    assert said(caplog)["together"][:2] == ["3.0", "MB"]


def test_the_last_runs_outputs_are_kept_and_the_next_run_is_cached(
    run: Path, tmp_path: Path
) -> None:
    clean.main([str(run), "--yes"])

    assert keys(run) == {"count-left": 1, "count-right": 1, "total": 1}
    again = execute(tmp_path / "p.yaml", run, ["size=5"], jobs=2)
    assert {task.status for task in again.tasks} == {"cached"}


def test_logs_of_tasks_that_are_no_more_are_freed(run: Path) -> None:
    logs = run / "logs"
    file(logs / "total-seed1.log", 3)
    file(logs / "my notes.txt", 3)
    before = sorted(os.listdir(logs))

    clean.main([str(run), "--yes"])

    assert sorted(os.listdir(logs)) == [name for name in before if name != "total-seed1.log"]
    assert "forkserver-others.log" in before and "total.log" in before


def test_of_a_task_that_has_not_run_yet_the_newest_outputs_are_kept(
    run: Path, tmp_path: Path
) -> None:
    execute(tmp_path / "p.yaml", run, ["size=6"], jobs=2, only="count-left")

    clean.main([str(run), "--yes"])

    assert keys(run) == {"count-left": 1, "count-right": 1, "total": 1}


def test_what_links_in_the_folder_lead_to_is_kept(run: Path) -> None:
    old = list((run / "artifacts" / "count-left").iterdir())
    old.remove(outputs(run, "count-left"))
    (run / "best").symlink_to(old[0] / "numbers")
    (run / "models").mkdir()
    (run / "models" / "left").symlink_to(Path("..") / (old[1] / "numbers").relative_to(run))

    clean.main([str(run), "--yes"])

    assert keys(run) == {"count-left": 3, "count-right": 1, "total": 1}
    assert (run / "best" / "numbers.json").is_file()
    assert (run / "models" / "left" / "numbers.json").is_file()


def test_links_are_not_followed_out_of_the_folder(run: Path, tmp_path: Path) -> None:
    outside = file(tmp_path / "outside" / "precious", 10).parent
    (run / "artifacts" / "total" / "link").symlink_to(outside)
    (run / "artifacts" / "elsewhere").symlink_to(outside)
    (run / "checkpoints").symlink_to(outside)
    (run / "store").mkdir()
    (run / "store" / "images").symlink_to(outside)

    clean.main([str(run), "--yes"])

    assert (outside / "precious").stat().st_size == 10


def test_shards_that_no_needed_image_set_lists_are_freed(run: Path) -> None:
    image_set(outputs(run, "count-right"), "images/new/a.tar")
    kept = file(run / "store" / "images" / "new" / "a.tar", 3)
    file(run / "store" / "images" / "old" / "a.tar", 3)
    cached = file(run / "cache" / f"{DIGEST}.tar", 3)
    file(run / "cache" / f"{'b' * 64}.tar", 3)

    clean.main([str(run), "--yes"])

    assert [path for path in (run / "store").rglob("*") if path.is_file()] == [kept]
    assert not (run / "store" / "images" / "old").exists()
    assert list((run / "cache").iterdir()) == [cached]


def test_shards_are_found_by_whichever_path_the_folder_is_reached(
    run: Path, tmp_path: Path
) -> None:
    kept = file(run / "store" / "images" / "new" / "a.tar", 3)
    image_set(outputs(run, "count-right"), str(kept))
    (tmp_path / "alias").symlink_to(run)

    clean.main([str(tmp_path / "alias"), "--yes"])

    assert kept.exists()


def test_unfinished_work_is_kept_only_for_stages_that_are_to_go_on(
    run: Path, tmp_path: Path
) -> None:
    for stage in ("count", "total"):
        file(run / "checkpoints" / f"{stage}-0123" / "0.safetensors", 3)
    execute(tmp_path / "p.yaml", run, ["factor=3"], jobs=2, only="count")

    clean.main([str(run), "--yes"])

    assert [path.name for path in (run / "checkpoints").iterdir()] == ["total-0123"]
    assert os.listdir(run / "checkpoints" / "total-0123") == ["0.safetensors"]


def test_what_others_have_put_there_stays(run: Path) -> None:
    folders = ("artifacts", "artifacts/total", "store", "store/images", "store/images/old")
    folders += ("checkpoints", "cache")
    foreign = [file(run / folder / ".DS_Store", 3) for folder in folders]
    foreign += [file(run / folder / "photos" / "Thumbs.db", 3) for folder in folders]
    file(run / "store" / "images" / "old" / "a.tar", 3)

    clean.main([str(run), "--yes"])

    assert [path for path in foreign if not path.exists()] == []
    assert not (run / "store" / "images" / "old" / "a.tar").exists()


def test_a_folder_in_use_is_not_touched(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    with locked(run), pytest.raises(SystemExit, match="2"):
        clean.main([str(run), "--yes"])

    assert "in use by process" in caplog.text
    assert keys(run)["total"] == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [([], "not a run's folder"), (["--set", "finetune.epochs=1"], "belong to a --recipe")],
)
def test_what_is_no_run_is_refused_and_not_made_one(
    tmp_path: Path, words: list[str], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "nothing"
    if words:
        execute(compiled(diamond, tmp_path / "p.yaml"), folder, [], jobs=1)

    with pytest.raises(SystemExit, match="2"):
        clean.main([str(folder), *words])

    assert message in caplog.text
    assert folder.exists() == bool(words)
