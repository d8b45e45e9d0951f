import json
import re
from dataclasses import replace

from pipelines.run.graph_drawing import draw_graph
from pipelines.run.record import Status, TaskRecord
from tests.candidates import named
from tests.html_reader import Reader


def task(name: str, *before: str, status: Status = "ran", seconds: float = 60) -> TaskRecord:
    step, _, candidate = name.partition("-")
    return TaskRecord(
        name=name,
        stage=step,
        step=step,
        candidate=named(candidate),
        dependencies=list(before),
        parameters={},
        status=status,
        seconds=seconds,
    )


def texts(drawing: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", drawing)


def links(drawing: str) -> list[str | None]:
    return [attributes["href"] for tag, attributes in Reader(drawing).tags if tag == "a"]


def test_tasks_that_differ_by_their_seed_alone_are_one() -> None:
    tasks = [task("ingest")]
    for seed in (0, 1):
        models = [f"finetune-net-wt-seed{seed}", f"finetune-net-none-seed{seed}"]
        tasks += [
            task(models[0], "ingest", seconds=30 + 20 * seed),
            task(models[1], "ingest"),
            task(f"ensemble-seed{seed}", *models),
        ]

    drawing = draw_graph(tasks)

    found = iter(texts(drawing))
    assert list(zip(found, found, found, strict=True)) == [
        ("ingest", "", "1 min 0 s"),
        ("finetune", "net, WT", "2 × 40 s"),
        ("finetune", "net, scratch", "2 × 1 min 0 s"),
        ("ensemble", "", "2 × 1 min 0 s"),
    ]
    assert drawing.count("ensemble-seed1: ran") == 1


def test_the_end_of_a_long_name_is_kept() -> None:
    drawing = draw_graph([task("finetune-resnet10t-none-longer")])

    assert "…0t, scratch, longer" in texts(drawing)


def test_pretrainings_have_the_names_that_the_comparison_was_told() -> None:
    plain = task("finetune-net-none")
    told = {"predictions": [], "pretrainings": {"none": {"title": "plain"}}}
    compare = replace(task("compare", plain.name), parameters={"names": json.dumps(told)})

    assert "net, scratch" in texts(draw_graph([plain]))
    assert "net, plain" in texts(draw_graph([plain, compare]))


def test_of_several_seeds_the_one_that_failed_shows() -> None:
    tasks = [task("a-seed0"), task("a-seed1", status="failed"), task("a-seed2")]

    drawing = draw_graph(tasks)

    assert "1 of 3 failed" in texts(drawing)
    assert links(drawing) == ["#task-a-seed1"]


def test_seeds_may_differ_in_what_they_read() -> None:
    """The second seed's second task is the first of its kind, and comes after what reads it."""
    drawing = draw_graph([task("a-x"), task("b-seed0", "a-x"), task("a-y"), task("b-seed1", "a-y")])

    assert links(drawing) == ["#task-a-x", "#task-a-y", "#task-b-seed0"]
    assert drawing.count('<path d="M') == 2 + 3


def test_a_hundred_tasks_of_several_seeds_are_as_low_as_those_of_one() -> None:
    def run(seeds: int) -> list[TaskRecord]:
        found = [task("ingest")]
        for seed in range(seeds):
            for candidate in range(5):
                name = f"net{candidate}-wt-seed{seed}"
                found.append(task(f"finetune-{name}", "ingest"))
                for last, step in (("finetune", "large"), ("large", "again"), ("again", "last")):
                    found.append(task(f"{step}-{name}", f"{last}-{name}"))
        return found

    def size(drawing: str) -> str:
        return drawing[: drawing.index(" style")]

    assert len(run(5)) == 101
    assert size(draw_graph(run(5))) == size(draw_graph(run(1)))
