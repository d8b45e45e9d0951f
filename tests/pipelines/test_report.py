import base64
import html
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.shared.reports.html import Page
from components.shared.reports.plots import NARROW, WIDE
from components.shared.stage.errors import UserError
from pipelines import report
from pipelines.run import ending, models, samples
from pipelines.run.record import RunRecord, TaskRecord
from tests import comparisons, tiny_models
from tests.candidates import named
from tests.html_reader import Reader
from tests.synthetic import coloured_squares, image_set, targets

STEPS = ("finetune", "finetune_large", "finetune_again", "finetune_again_large")
CANDIDATES = {"wt": 0.6, "lw": 0.5, "none": 0.4}
HOSTILE = "<script>alert('web')</script>"
IMAGES = 30


def texts_of(page: str) -> list[str]:
    return [text.strip() for text in Reader(page).texts]


def table_rows(page: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    return [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in rows]


def task(
    folder: Path, name: str, step: str, candidate: str, dependencies: list[str], **outputs: Path
) -> TaskRecord:
    page = Page(f"Page of {name}", "Made by the stage.")
    page.write(folder / "artifacts" / name / "report")
    return TaskRecord(
        name=name,
        stage="finetune" if step.startswith("finetune") else step,
        step=step,
        candidate=named(candidate),
        dependencies=dependencies,
        parameters={"seed": 0},
        status="ran",
        key="0123456789abcdef",
        outputs={key: str(path) for key, path in outputs.items()}
        | {"report": str(folder / "artifacts" / name / "report")},
        seconds=12.3,
    )


def text_tasks(folder: Path) -> list[TaskRecord]:
    """Write what ingest, tagging, weighting and pseudo labelling would, for 30 images."""
    pictures, labels = coloured_squares(IMAGES, 32, seed=0)
    images = image_set(folder, pictures)
    concepts = ["red square", "green square", HOSTILE]
    given = folder / "labels"
    targets(given, images.identity, [[(label, 1.0)] for label in labels], concepts)
    keywords, weights, pseudo = folder / "keywords", folder / "weights", folder / "pseudo"
    words = ["bright", "square", HOSTILE]
    targets(keywords, images.identity, [[(i % 3, 1.0)] for i in range(IMAGES)], words)
    targets(weights, images.identity, [[(i % 3, 0.77)] for i in range(IMAGES)], concepts)
    # The models contradict the given label of image 20, and of no other.
    predicted = [[((label + (i == 20)) % 3, 0.9)] for i, label in enumerate(labels)]
    targets(pseudo, images.identity, predicted, concepts)
    columns = ["split", "kind", "source", "id", "detail"]
    rejects = [dict(zip(columns, ["train", "truncated image", "google", HOSTILE, ""], strict=True))]
    pq.write_table(pa.Table.from_pylist(rejects), folder / "images" / "rejects.parquet")
    outputs = {"images": folder / "images", "labels": given}
    return [
        task(folder, "ingest", "ingest", "", [], **outputs),
        task(folder, "tagging", "tagging", "", ["ingest"], keywords=keywords),
        task(folder, "weighting", "weighting", "", ["ingest"], weights=weights),
        task(folder, "wt-pretrain-net", "wt_pretrain", "net", ["ingest", "tagging"]),
        task(folder, "lw-pretrain-net", "lw_pretrain", "net", ["ingest", "weighting"]),
    ]


def compare(
    folder: Path, accuracies: dict[tuple[str, str], float], dependencies: list[str]
) -> TaskRecord:
    """Let the stage compare classifiers of these accuracies."""
    images = comparisons.Images(folder, np.arange(100) % 5)
    right = {name: np.arange(100) < round(100 * top1) for name, top1 in accuracies.items()}
    comparisons.run(folder, images, right)
    done = task(folder, "compare", "compare", "", dependencies)
    outputs = {"comparison": "comparison.json", "summary": "summary.md", "report": "report.html"}
    done.outputs = {name: str(folder / file) for name, file in outputs.items()}
    return done


def make_run(folder: Path) -> RunRecord:
    """Write a whole run of three candidates with two rounds, WT the best."""
    tasks = text_tasks(folder)
    pretrained = {"wt": ["wt-pretrain-net"], "lw": ["lw-pretrain-net"], "none": []}
    accuracies: dict[tuple[str, str], float] = {}
    pseudo = task(folder, "pseudo-label", "pseudo_label", "", [], pseudo_labels=folder / "pseudo")
    for number, step in enumerate(STEPS):
        if step == "finetune_again":
            pseudo.dependencies += [each.name for each in tasks if each.step == STEPS[1]]
            tasks.append(replace(pseudo, dependencies=["ingest", *pseudo.dependencies]))
        # The compiled pipeline lists tasks as it likes.
        order = sorted(CANDIDATES, reverse=number > 1)
        for pretraining, top1 in ((name, CANDIDATES[name]) for name in order):
            name = f"{step.replace('_', '-')}-net-{pretraining}"
            before = ["ingest", *pretrained[pretraining]]
            if step.startswith("finetune_again"):
                before.append("pseudo-label")
            if step.endswith("large"):
                before.append(name.replace("-large", ""))
            tasks.append(task(folder, name, step, f"net-{pretraining}", before))
            accuracies[step, f"net-{pretraining}"] = top1 + 0.02 * number
    last = [each.name for each in tasks if each.step == STEPS[-1]]
    tasks.append(task(folder, "ensemble", "ensemble", "", ["ingest", *last]))
    accuracies["ensemble", ""] = 0.7
    tasks.append(compare(folder / "compare", accuracies, [each.name for each in tasks]))
    run = RunRecord(
        pipeline="webly-test",
        recipe="test",
        parameters={"dataset": HOSTILE},
        started=1.6e9,
        ended=1.6e9 + 272,
        tasks=tasks,
    )
    run.write(folder)
    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    make_run(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return report.write(folder).read_text()


def drawing(page: str) -> str:
    found = re.search(r'<svg viewBox=.*?aria-label="graph of the tasks">.*?</svg>', page)
    assert found is not None
    return found[0]


def test_the_page_refers_to_nothing_outside_itself(page: str) -> None:
    addresses = [
        str(value)
        for _, attributes in Reader(page).tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "srcset", "action")
    ]

    assert {address.split(":")[0] for address in addresses if address[0] != "#"} == {"data"}
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_texts_of_the_web_stay_texts(page: str) -> None:
    read = Reader(page)

    assert "script" not in {tag for tag, _ in read.tags}
    assert not [name for _, attributes in read.tags for name in attributes if name.startswith("on")]
    assert HOSTILE in texts_of(page)


def test_the_comparison_is_the_pages_result(page: str) -> None:
    results = page[page.index(">Results</h2>") : page.index(">Keywords</h2>")]
    rows = [[cell.split(" / ")[0] for cell in row] for row in table_rows(results)]

    assert ["WT", "60.0", "62.0", "64.0", "66.0", "–"] in rows
    assert ["scratch", "40.0", "42.0", "44.0", "46.0", "–"] in rows
    assert ["ensemble", "–", "–", "–", "–", "70.0"] in rows
    assert page.count("<h1>Comparison</h1>") == 1  # and not once more among the stages' pages


def test_the_tiles_have_the_size_of_the_data_and_the_gains_of_pretraining(page: str) -> None:
    tiles = re.findall(r"<div><b>([^<]*)</b>([^<]*)</div>", page)

    assert tiles[0][1].startswith("training images of")
    assert ("+20.0", "points of WT over scratch") in tiles
    assert ("+10.0", "points of LW over scratch") in tiles


def test_the_page_begins_with_what_the_terminal_ends_with(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for each in run.tasks:
        if each.step == "finetune_again_large":
            model = tiny_models.save(tmp_path / "artifacts" / each.name / "model", ["a"])
            each.outputs["model"] = str(model)
    run.write(tmp_path)
    models.link(run, tmp_path)

    page = report.write(tmp_path)

    expected = [list(line) for line in ending.lines(run, tmp_path, page)]
    shown = re.search(r"<pre>(.*?)</pre>", page.read_text(), re.DOTALL)
    assert shown is not None
    lines = html.unescape(shown[1]).splitlines()
    assert [[line[:10].strip(), line[12:]] for line in lines] == expected
    assert [what for what, _ in expected] == [
        *("best model", "accuracy", "use it", "together", "report"),
    ]
    assert expected[0][1] == f"{tmp_path}/best: net, WT, again, large"


def test_the_graph_shows_every_task_once(page: str, folder: Path) -> None:
    record = json.loads((folder / "record.json").read_text())

    links = re.findall(r'href="#(task-[^"]*)"', drawing(page))
    anchors = re.findall(r'<(?:div|section) id="(task-[^"]*)"', page)

    assert links == [f"task-{task['name']}" for task in record["tasks"]]
    assert sorted(links) == sorted(anchors)


def test_the_graph_leaves_out_what_longer_paths_say(page: str) -> None:
    edges = re.search(r"<g fill=.*?</g>", drawing(page))

    # ingest → tagging, weighting, scratch; → pretrainings; → first round (2 of it from them);
    # large; pseudo labels ← 3; again ← 3; large; ensemble ← 3; compare.
    assert edges is not None
    assert edges[0].count("<path") == 3 + 2 + 2 + 3 + 3 + 3 + 3 + 3 + 1


def test_candidates_keep_their_order_in_the_graph(page: str) -> None:
    heights: dict[str, dict[str, float]] = {}
    found = re.findall(
        r'href="#task-([a-z-]*)-net-(wt|lw|none)" [^>]*\((\S+) (\S+)\)', drawing(page)
    )
    for step, candidate, _, y in found:
        heights.setdefault(step, {})[candidate] = float(y)

    assert len(heights) == 4
    for rows in heights.values():
        assert rows["wt"] < rows["lw"] < rows["none"]


def test_samples_join_label_keywords_weights_and_pseudo_labels(page: str) -> None:
    cards = re.findall(r"<div class=card>.*?</div></div>\n|<div class=card>.*?</div>\n", page)

    second = texts_of(cards[1])
    assert second[0] == "red square"
    assert "keywords: bright" in second
    assert second[second.index("weights:") + 1] == "red square 0.77"
    assert second[second.index("pseudo labels:") + 1] == "red square 0.90"


def test_the_first_samples_are_those_whose_label_the_models_contradict(page: str) -> None:
    samples = page[page.index(">Samples</h2>") : page.index(">Rejects</h2>")]
    titles = re.findall(r"<div class=title>([^<]*)</div>", samples)
    first = samples[samples.index("<div class=card>") :].split("<div class=card>")[1]

    assert len(titles) == 1 + 12
    assert (titles[0], "red square 0.90" in first) == (
        "&lt;script&gt;alert(&#x27;web&#x27;)&lt;/script&gt;",
        True,
    )


def test_the_surest_contradictions_come_first(tmp_path: Path) -> None:
    pictures, _ = coloured_squares(4, 32, seed=0)
    images = image_set(tmp_path, pictures)
    given = targets(tmp_path / "given", images.identity, [[(0, 1.0)]] * 4, ["a", "b"])
    predicted = [[(1, 0.6), (0, 0.3)], [], [(1, 0.9)], [(0, 1.0)]]
    pseudo = targets(tmp_path / "pseudo", images.identity, predicted, ["a", "b"])

    found = samples.cards(images, given, {"pseudo labels": pseudo})

    bars = [card.lines[1:] for card in found]
    assert bars[0] == [("b 0.90", pytest.approx(0.9))]
    assert bars[1][0] == ("b 0.60", pytest.approx(0.6))
    assert len(found) == 4


def test_pictures_are_the_images_of_the_set(page: str, folder: Path) -> None:
    from components.shared.data.image_set import ImageSet

    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', page)

    assert base64.b64decode(pictures[1 + 3]) == bytes(ImageSet.load(folder / "images").read(3))


def test_what_ingest_left_out_is_listed(page: str) -> None:
    rejects = page[page.index(">Rejects</h2>") :]

    assert ["truncated image", "1"] in table_rows(rejects)
    assert "google" in texts_of(rejects)


def test_the_stages_own_pages_are_folded_in(page: str) -> None:
    texts = texts_of(page)

    assert "Page of weighting" in texts
    assert "Page of finetune-again-large-net-lw" in texts


def test_a_page_that_is_too_large_is_named_instead(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    large = Page("Large", "")
    large.paragraph("x" * 6_000_000)
    large.write(Path(run.tasks[1].outputs["report"]))

    path = report.write(tmp_path)

    assert path.stat().st_size < report.MOST_BYTES
    assert run.tasks[1].outputs["report"] in path.read_text()
    assert "Page of weighting" in path.read_text()


def test_of_pages_that_do_not_fit_together_the_large_ones_are_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for number, size in ((0, 3_000_000), (3, 2_900_000), (4, 1_500_000)):
        large = Page(f"Page {number}", "")
        large.paragraph("x" * size)
        large.write(Path(run.tasks[number].outputs["report"]))

    path = report.write(tmp_path)

    texts = texts_of(path.read_text())
    assert 4_400_000 < path.stat().st_size < report.MOST_BYTES
    assert [f"Page {number}" in texts for number in (0, 3, 4)] == [False, True, True]


def test_the_time_and_the_memory_of_all_tasks_are_added_up(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.tasks[0].seconds, run.tasks[0].peak_bytes = 90_000, 3 << 30
    run.write(tmp_path)

    rows = table_rows(report.write(tmp_path).read_text())

    assert ["ingest", "ran", "25 h 0 min", "3,072", "0123456789ab"] in rows
    assert ["all of them", "", "25 h 3 min", "3,072", ""] in rows


def test_a_run_that_failed_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    fields: dict[str, Any] = {"candidate": named(""), "parameters": {}}
    (tmp_path / "ingest.log").write_text("ERROR ingest: <data>: no such folder\n")
    failed = TaskRecord(
        name="ingest",
        stage="ingest",
        step="ingest",
        dependencies=[],
        status="failed",
        log=str(tmp_path / "ingest.log"),
        **fields,
    )
    skipped = TaskRecord(
        name="tagging",
        stage="tagging",
        step="tagging",
        dependencies=["ingest"],
        status="skipped",
        **fields,
    )
    RunRecord(
        pipeline="p", recipe="r", parameters={}, started=1.6e9, tasks=[failed, skipped]
    ).write(tmp_path)

    texts = texts_of(report.write(tmp_path).read_text())

    assert "ERROR ingest: <data>: no such folder" in texts
    assert "ingest failed" in texts


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"record\.json is missing"):
        report.write(tmp_path)


def test_a_run_of_another_version_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "record.json").write_text('{"format": 3}')
    monkeypatch.setenv("WEBLY_STORE", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["report", str(tmp_path)])

    with pytest.raises(SystemExit, match="2"):
        report.main()

    (line,) = caplog.messages
    assert f"{tmp_path}/record.json: format 3, but this version of webly reads format 1" in line


def test_writing_a_report_imports_neither_torch_nor_kfp(folder: Path) -> None:
    code = (
        "import sys, pathlib; from pipelines import report;"
        f"report.write(pathlib.Path({str(folder)!r})); print({{'torch', 'kfp'}} & set(sys.modules))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


def test_keywords_are_labelled_along_the_curve() -> None:
    from pipelines.run.plots import plot_keywords

    images = np.array([5, 80, 20])
    for width in (NARROW, WIDE):
        figure = plot_keywords(["rare", "usual", "$middle"], images, width)

        labels = [text.get_text() for text in figure.axes[0].texts]
        assert labels == ["usual", "$middle", "rare"]
