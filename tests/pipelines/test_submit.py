import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from toy.pipelines import compiled, diamond

from components.shared.stage.errors import UserError
from pipelines import submit
from pipelines.cluster import kfp_api, submission, watch
from pipelines.cluster.kfp_api import Access, Cluster
from pipelines.compile import compile_recipe
from pipelines.recipe import load
from tests.pipelines.kubeflow import Kubeflow, argo_pod, nodes

DONE = nodes(count_left=("CACHED", 0), count_right=("SUCCEEDED", 90), total=("SUCCEEDED", 30))
Submit = Callable[..., int]


@pytest.fixture
def kubeflow() -> Iterator[Kubeflow]:
    with Kubeflow() as server:
        yield server


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody waits, and nothing of this machine's own configuration is seen."""
    monkeypatch.setattr(watch, "_SECONDS_BETWEEN_LOOKS", 0.0)
    monkeypatch.setattr(kfp_api, "_FIRST_PAUSE", 0.0)
    for name in (
        "KFP_ENDPOINT",
        "KF_PIPELINES_ENDPOINT",
        "KFP_TOKEN",
        "KF_PIPELINES_SA_TOKEN_PATH",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("WEBLY_REGISTRY", "registry.example.org/team")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    return compiled(diamond, tmp_path / "toy.yaml")


@pytest.fixture
def command(kubeflow: Kubeflow, pipeline: Path, caplog: pytest.LogCaptureFixture) -> Submit:
    """Run the command on the toy pipeline, and return its exit code."""
    caplog.set_level(logging.INFO)

    def run(*argv: str) -> int:
        options = ["--endpoint", kubeflow.endpoint]
        if argv[:1] not in (("follow",), ("retry",)):
            options += ["--file", str(pipeline)]
        with pytest.raises(SystemExit) as ended:
            submit.main([*argv, *options])
        assert isinstance(ended.value.code, int)
        return ended.value.code

    return run


def versions(kubeflow: Kubeflow) -> list[str]:
    return [version["display_name"] for version in kubeflow.kept["versions"].values()]


def table(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_a_start_uploads_a_version_and_runs_it_in_an_experiment_with_typed_values(
    kubeflow: Kubeflow, command: Submit, pipeline: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kubeflow.plays = [("SUCCEEDED", DONE)]

    assert command("first=2", "factor=1", "label=x=y") == 0

    (run,) = kubeflow.posted("/apis/v2beta1/runs")
    (version,) = kubeflow.kept["versions"].values()
    assert version["pipeline_spec"] == yaml.safe_load(pipeline.read_text())
    assert version["display_name"] == submission.version_name(pipeline)
    assert run["pipeline_version_reference"] == {
        "pipeline_id": version["pipeline_id"],
        "pipeline_version_id": version["pipeline_version_id"],
    }
    values = run["runtime_config"]["parameters"]
    assert values == {"first": 2, "size": 3, "factor": 1.0, "label": "x=y"}
    assert [type(values[name]) for name in ("first", "label")] == [int, str]
    assert kubeflow.kept["experiments"][run["experiment_id"]]["display_name"] == "toy"
    assert f"{kubeflow.endpoint}/#/runs/details/run-" in caplog.text


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        ([], "toy · 9 Nov 14:05"),
        (["dataset=s3://bucket/data"], "toy · 9 Nov 14:05"),
        (["first=2", "factor=1"], "first=2, factor=1 · 9 Nov 14:05"),
        (["--rerun", "total", "first=2"], "rerun total, first=2 · 9 Nov 14:05"),
        (["--no-cache"], "no cache · 9 Nov 14:05"),
        ([f"label={'x' * 99}"], f"label={'x' * 53}… · 9 Nov 14:05"),
    ],
)
def test_a_run_is_named_by_what_it_changes_and_the_time(
    kubeflow: Kubeflow,
    command: Submit,
    pipeline: Path,
    monkeypatch: pytest.MonkeyPatch,
    argv: list[str],
    name: str,
) -> None:
    compiled(with_dataset, pipeline)
    monkeypatch.setattr(submission.time, "strftime", lambda form, *of: "09 Nov 14:05")

    assert command(*argv, "--no-follow") == 0

    (run,) = kubeflow.posted("/apis/v2beta1/runs")
    assert run["display_name"] == name


def with_dataset(
    dataset: str = "data", first: int = 1, size: int = 3, label: str = "b", factor: float = 0.5
) -> None:
    diamond(first, size, label, factor)


def test_pipeline_version_and_run_are_described(
    kubeflow: Kubeflow, command: Submit, pipeline: Path
) -> None:
    spec = yaml.safe_load(pipeline.read_text())
    spec["pipelineInfo"]["description"] = "Counts twice.\n\n| field | |"
    pipeline.write_text(yaml.safe_dump(spec))

    assert command("first=2", f"label={'x' * 300}") == command() == 0

    (there,) = kubeflow.kept["pipelines"].values()
    (version,) = kubeflow.kept["versions"].values()
    first, second = kubeflow.kept["runs"].values()
    assert there["description"] == "Counts twice.\n\n| field | |"
    assert version["description"] == second["description"] == "Counts twice."
    assert first["description"].startswith("first=2\nlabel=xxx")
    assert len(first["description"]) == 255


def test_an_older_backend_gets_a_file_that_it_knows(kubeflow: Kubeflow) -> None:
    argv = ["--recipe", "smoke", "--backend", "2.15", "--no-follow"]

    with pytest.raises(SystemExit, match="0"):
        submit.main([*argv, "--endpoint", kubeflow.endpoint])

    (version,) = kubeflow.kept["versions"].values()
    assert "literals" not in json.dumps(version["pipeline_spec"])
    assert "securityContext" not in json.dumps(version["pipeline_spec"])


def test_a_second_start_takes_what_is_there(kubeflow: Kubeflow, command: Submit) -> None:
    assert command() == command("first=3") == 0

    counts = {kind: len(kept) for kind, kept in kubeflow.kept.items()}
    assert counts == {"pipelines": 1, "versions": 1, "experiments": 1, "runs": 2}


def test_another_content_at_the_same_commit_becomes_a_version_of_its_own(
    kubeflow: Kubeflow, command: Submit, pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "_git", lambda *argv: "abc" * (argv[0] == "rev-parse"))
    assert command() == 0
    pipeline.write_text(pipeline.read_text().replace("toy:1", "localhost/toy:2"))

    assert command() == command() == 0

    assert versions(kubeflow) == ["abc", f"abc-{submission.digest(pipeline)}"]


def test_a_version_with_another_value_that_python_takes_for_equal_is_another(
    kubeflow: Kubeflow, command: Submit, pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "_git", lambda *argv: "abc" * (argv[0] == "rev-parse"))
    spec = yaml.safe_load(pipeline.read_text())
    options = {"parameterType": "STRUCT", "defaultValue": {"a": True}}
    spec["root"]["inputDefinitions"]["parameters"]["options"] = options
    pipeline.write_text(yaml.safe_dump(spec))
    assert command("--no-follow") == 0
    options["defaultValue"] = {"a": 1.0}
    pipeline.write_text(yaml.safe_dump(spec))

    assert command("--no-follow") == 0

    assert versions(kubeflow) == ["abc", f"abc-{submission.digest(pipeline)}"]


@pytest.mark.parametrize(("changed", "name"), [("", "abc"), (" M file", "abc-{}")])
def test_a_version_is_named_after_the_commit_and_says_where_the_tree_differs(
    pipeline: Path, monkeypatch: pytest.MonkeyPatch, changed: str, name: str
) -> None:
    answers = {"rev-parse": "abc", "status": changed}
    monkeypatch.setattr(submission, "_git", lambda *argv: answers[argv[0]])

    assert submission.version_name(pipeline) == name.format(submission.digest(pipeline))


def test_a_run_is_followed_with_a_table_of_its_tasks(
    kubeflow: Kubeflow, command: Submit, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeflow.plays = [
        ("PENDING", []),
        ("RUNNING", nodes(count_left=("CACHED", 0), count_right=("RUNNING", 0))),
        ("RUNNING", nodes(count_left=("CACHED", 0), count_right=("SUCCEEDED", 90))),
        ("SUCCEEDED", DONE),
    ]

    assert command() == 0

    assert table(capsys) == [
        "> running  + done  = from an earlier run  ! failed  - not run",
        "= count-left      0.0 s",
        "> count-right",
        "+ count-right    90.0 s",
        "+ total          30.0 s",
    ]


def test_a_failed_run_shows_the_end_of_the_failed_tasks_last_pod_and_how_to_retry(
    kubeflow: Kubeflow,
    command: Submit,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeflow.kubeconfig(tmp_path / "config")))
    pods = [
        argo_pod("toy-1", task, attempt) for task in ("count-left", "total") for attempt in (1, 0)
    ]
    place = "/api/v1/namespaces/kubeflow/pods"
    kubeflow.objects = {
        place: {"items": pods},
        f"{place}/toy-1-root-count-left-executor-0/log": "the first try\n",
        f"{place}/toy-1-root-count-left-executor-1/log": "loading\nout of memory\n",
    }
    kubeflow.plays = [
        (
            "FAILED",
            nodes(count_left=("FAILED", 10), count_right=("SUCCEEDED", 9), total=("OMITTED", 0)),
        )
    ]

    assert command() == 1

    lines = table(capsys)
    assert lines[1:4] == [
        "! count-left     10.0 s  failed; the end of its log:",
        "    loading",
        "    out of memory",
    ]
    assert lines[-1] == "- total                  not run: a task that it needs failed"
    (run,) = kubeflow.kept["runs"]
    assert f"submit retry {run}" in caplog.text
    assert ("GET", place) in [(method, path) for method, path, *_ in kubeflow.requests]
    asked = next(query for _, path, query, _ in kubeflow.requests if path == place)
    assert asked == {"labelSelector": f"pipeline/runid={run}"}


def test_without_kubectls_configuration_a_failed_run_is_told_without_logs(
    kubeflow: Kubeflow, command: Submit, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeflow.plays = [("FAILED", nodes(count_left=("FAILED", 10)))]

    assert command() == 1

    assert "! count-left     10.0 s  failed" in table(capsys)


def test_a_terminated_run_ends_with_1(kubeflow: Kubeflow, command: Submit) -> None:
    kubeflow.plays = [("CANCELING", []), ("CANCELED", nodes(count_left=("CANCELED", 5)))]

    assert command() == 1


def test_an_api_that_cannot_answer_is_asked_again(
    kubeflow: Kubeflow, command: Submit, caplog: pytest.LogCaptureFixture
) -> None:
    kubeflow.faults = [502, 503, 429]
    kubeflow.plays = [("RUNNING", []), ("SUCCEEDED", DONE)]

    assert command() == 0

    assert caplog.text.count("asking again") == caplog.text.count("answers again") == 1
    assert len(kubeflow.kept["runs"]) == 1


def test_an_api_that_stays_away_is_given_up_with_how_to_follow_again(
    kubeflow: Kubeflow,
    command: Submit,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kfp_api, "_PATIENCE", 0.0)
    kubeflow.faults = [502] * 1000

    assert command() == 1

    (run,) = kubeflow.kept["runs"]
    assert f"submit follow {run} --endpoint {kubeflow.endpoint}" in caplog.text


def test_no_follow_starts_and_leaves(
    kubeflow: Kubeflow, command: Submit, caplog: pytest.LogCaptureFixture
) -> None:
    assert command("--no-follow") == 0

    (run,) = kubeflow.kept["runs"]
    assert f"submit follow {run}" in caplog.text
    assert not [path for method, path, *_ in kubeflow.requests if path.endswith(run)]


def test_follow_takes_up_a_run_that_others_started(
    kubeflow: Kubeflow, command: Submit, capsys: pytest.CaptureFixture[str]
) -> None:
    command("--no-follow")
    kubeflow.plays = [("SUCCEEDED", DONE)]

    assert command("follow", *kubeflow.kept["runs"]) == 0

    assert "+ total          30.0 s" in table(capsys)


def test_retry_asks_for_it_once_and_follows(kubeflow: Kubeflow, command: Submit) -> None:
    command("--no-follow")
    (run,) = kubeflow.kept["runs"]

    assert command("retry", run) == 0

    posted = [path for method, path, *_ in kubeflow.requests if method == "POST"]
    assert posted.count(f"/apis/v2beta1/runs/{run}:retry") == 1


def test_what_shall_run_again_starts_from_a_file_with_its_caching_off(
    kubeflow: Kubeflow, command: Submit, pipeline: Path
) -> None:
    before = pipeline.read_text()

    assert command("--rerun", "count-left") == command("--no-cache") == 0

    def uncached(run: dict[str, Any]) -> set[str]:
        tasks = run["pipeline_spec"]["root"]["dag"]["tasks"]
        return {name for name, task in tasks.items() if not task["cachingOptions"]}

    one, every = kubeflow.posted("/apis/v2beta1/runs")
    assert uncached(one) == {"count-left"}
    assert uncached(every) == {"count-left", "count-right", "total"}
    assert not kubeflow.kept["versions"]
    assert pipeline.read_text() == before


def test_rerun_of_a_stage_fills_in_its_field_of_the_form(
    kubeflow: Kubeflow, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    argv = ["--recipe", "smoke", "--rerun", "finetune", "--no-follow"]

    with pytest.raises(SystemExit, match="0"):
        submit.main([*argv, "--endpoint", kubeflow.endpoint])

    (run,) = kubeflow.posted("/apis/v2beta1/runs")
    values = run["runtime_config"]["parameters"]
    assert values["rerun_finetune"].startswith("20")
    assert values["rerun_wt_pretrain"] == ""
    assert "pipeline_version_reference" in run
    assert f"rerun_finetune={values['rerun_finetune']}" in caplog.text


def test_diff_compares_with_the_runs_of_the_cluster(
    kubeflow: Kubeflow, command: Submit, caplog: pytest.LogCaptureFixture
) -> None:
    command("first=1", "factor=1", "--no-follow")  # KFP answers 1, the file has 1.0
    kubeflow.plays = [("SUCCEEDED", DONE)]

    assert command("diff", "first=1", "factor=1") == 0
    assert caplog.messages[-1] == "0 of 3 tasks will run"
    caplog.clear()
    assert command("diff", "first=2", "factor=1") == 0

    assert [line for line in caplog.messages if line[:2] in ("= ", "+ ")] == [
        "+ count-left   runs: start 1→2",
        "= count-right  cached",
        "+ total        runs: count-left runs",
    ]
    assert len(kubeflow.kept["runs"]) == 1


def test_diff_knows_what_a_run_has_not_made(
    kubeflow: Kubeflow, command: Submit, caplog: pytest.LogCaptureFixture
) -> None:
    command("--no-follow")
    kubeflow.plays = [("RUNNING", nodes(count_left=("SUCCEEDED", 60), count_right=("RUNNING", 0)))]
    (run,) = kubeflow.kept["runs"]

    assert command("diff", "--run", run) == 0

    assert [line for line in caplog.messages if line[:2] in ("= ", "+ ")] == [
        "= count-left   cached",
        f"+ count-right  runs: run {run} did not complete it",
        "+ total        runs: count-right runs",
    ]


def test_diff_without_an_earlier_run_says_so(
    command: Submit, caplog: pytest.LogCaptureFixture
) -> None:
    assert command("diff") == 0

    assert "there is no earlier run" in caplog.text


def test_a_dry_run_shows_requests_and_values_and_makes_none(
    kubeflow: Kubeflow, command: Submit, caplog: pytest.LogCaptureFixture
) -> None:
    assert command("--dry-run", "first=7") == 0

    assert not kubeflow.requests
    assert "  first=7" in caplog.messages
    assert f"POST {kubeflow.endpoint}/apis/v2beta1/runs" in caplog.text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("finetune_epochs=-3", "finetune_epochs=-3: must be at least 1"),
        ('gpu_tolerations=[{"name": "x"}]', "gpu_tolerations=[{'name': 'x'}]: toleration"),
        ("dataset=/data", "ingest: dataset=/data: a folder of this machine: copy it to S3"),
    ],
)
def test_what_no_stage_can_do_is_refused_before_any_request(
    kubeflow: Kubeflow, caplog: pytest.LogCaptureFixture, override: str, message: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        submit.main(["--recipe", "smoke", "--endpoint", kubeflow.endpoint, override])

    assert message in caplog.text
    assert not kubeflow.requests


def test_a_local_run_may_be_compared_with(
    kubeflow: Kubeflow, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    compile_recipe(load("smoke"), tmp_path / "smoke.yaml")

    with pytest.raises(SystemExit, match="0"):
        submit.main(["diff", "--recipe", "smoke", "dataset=/data", "--against", "smoke.yaml"])

    assert "dataset" in caplog.text


@pytest.mark.parametrize("name", ["KFP_ENDPOINT", "KF_PIPELINES_ENDPOINT"])
def test_the_environment_says_where_the_api_is(
    kubeflow: Kubeflow, pipeline: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, f"{kubeflow.endpoint}/")

    with pytest.raises(SystemExit, match="0"):
        submit.main(["--file", str(pipeline), "--no-follow"])

    assert len(kubeflow.kept["runs"]) == 1


def test_on_a_kubeflow_for_several_users_all_is_asked_for_in_a_namespace(
    kubeflow: Kubeflow, command: Submit, caplog: pytest.LogCaptureFixture
) -> None:
    kubeflow.multi_user = True

    assert command("--namespace", "ann", "--no-follow") == 0

    lists = [query for method, _, query, _ in kubeflow.requests if "filter" in query]
    assert {query.get("namespace") for query in lists[:2]} == {"ann"}
    (experiment,) = kubeflow.kept["experiments"].values()
    assert experiment["namespace"] == "ann"
    assert command() == 2
    assert "--namespace" in caplog.text


@pytest.mark.parametrize("way", ["option", "environment's file", "environment"])
def test_a_token_is_sent_and_never_shown(
    kubeflow: Kubeflow,
    pipeline: Path,
    tmp_path: Path,
    way: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    kubeflow.token = "very-secret"
    token = tmp_path / "token"
    token.write_text("very-secret\n")
    environment = {
        "option": {},
        "environment's file": {"KF_PIPELINES_SA_TOKEN_PATH": str(token)},
        "environment": {"KFP_TOKEN": "very-secret"},
    }[way]
    options = ["--token-file", str(token)] if way == "option" else []
    argv = ["--file", str(pipeline), "--endpoint", kubeflow.endpoint, *options]
    kubeflow.faults = [502, 401]

    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit):
        submit.main(argv)

    assert "asking again" in caplog.text
    assert "401" in caplog.text
    assert len(kubeflow.kept["runs"]) == 1
    assert "very-secret" not in caplog.text + "".join(capsys.readouterr())


def test_ctrl_c_leaves_the_run_alone_and_says_how_to_follow_it_again(
    kubeflow: Kubeflow, pipeline: Path
) -> None:
    kubeflow.plays = [("RUNNING", [])]
    argv = ["--file", str(pipeline), "--endpoint", kubeflow.endpoint]
    runner = subprocess.Popen(
        [sys.executable, "-m", "pipelines.submit", *argv],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(submit.__file__).parents[1])},
    )
    deadline = time.monotonic() + 60
    while not [path for _, path, *_ in kubeflow.requests if "/runs/" in path]:
        assert time.monotonic() < deadline
        time.sleep(0.05)

    runner.send_signal(signal.SIGINT)

    _, errors = runner.communicate()
    (run,) = kubeflow.kept["runs"]
    assert runner.returncode == 130
    assert f"submit follow {run} --endpoint {kubeflow.endpoint}" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--file", "nosuch.yaml"], "nosuch.yaml"),
        (["--recipe", "smoke"], "KFP_ENDPOINT"),
        (["--recipe", "smoke", "--endpoint", "localhost:8080"], "http://localhost:8080"),
        (["--recipe", "smoke", "--rerun", "finetuning"], "did you mean finetune"),
        (["--recipe", "smoke", "finetune_lr=1"], "finetune_learning_rate"),
        (["follow"], "the id of one run"),
        (["--recipe", "smoke", "--endpoint", "http://x", "--token-file", "nowhere"], "nowhere"),
        (["--recipe", "smoke", "--endpoint", "http://["], "http://[: must be a URL such as"),
        (["--recipe", "smoke", "--endpoint", "ftp://x"], "ftp://x: must be a URL such as"),
        (["--recipe", "smoke", "--endpoint", "http://x:99999999"], "must be a URL such as"),
        (["--recipe", "smoke", "--endpoint", "http:///x"], "http:///x: must be a URL such as"),
        (["diff", "--recipe", "smoke", "--against", "nowhere"], "nowhere"),
    ],
)
def test_what_the_user_can_put_right_ends_with_2(
    argv: list[str], named: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SystemExit, match="2"):
        submit.main(argv)

    assert named in caplog.text


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", "é".encode(), b"a\nb", b"\n"])
def test_what_cannot_be_a_token_is_refused_and_not_shown(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(UserError, match=f"^{tmp_path}/token: holds no token: one is a line of AS"):
        Cluster(Access("http://x", token_file=str(tmp_path / "token")))
    if content:  # else there is none
        monkeypatch.setenv("KFP_TOKEN", os.fsdecode(content))
        with pytest.raises(UserError, match="^KFP_TOKEN: holds no token: one is a line of ASCII$"):
            Cluster(Access("http://x"))


def test_settings_change_the_recipe_that_is_submitted(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.INFO)
    words = ["--recipe", "smoke", "--set", "finetune.epochs=7", "--endpoint", "http://x"]

    with pytest.raises(SystemExit, match="0"):
        submit.main(["--dry-run", *words])

    assert "  finetune_epochs=7" in caplog.messages


def test_settings_cannot_change_what_is_compiled(
    pipeline: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SystemExit, match="2"):
        submit.main(["--file", str(pipeline), "--set", "finetune.epochs=7"])

    assert "--set: changes a recipe, but --file is compiled already" in caplog.text


def test_all_folders_of_this_machine_are_refused_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(SystemExit, match="2"):
        submit.main(["--recipe", "demo", "--endpoint", "http://x"])

    dataset, tagger = caplog.text.partition("ERROR")[2].strip().splitlines()
    assert "ingest: dataset=runs/demo/data: a folder of this machine" in dataset
    assert "tagging: tagger=runs/demo/data/tagger: a folder of this machine" in tagger


def test_a_run_that_is_not_there_is_named(
    command: Submit, caplog: pytest.LogCaptureFixture
) -> None:
    assert command("follow", "nosuch") == 2

    assert "Run nosuch not found" in caplog.text


def test_a_refused_token_ends_with_a_remedy(
    kubeflow: Kubeflow, command: Submit, caplog: pytest.LogCaptureFixture
) -> None:
    kubeflow.token = "other"

    assert command() == 2

    assert "KFP_TOKEN" in caplog.text


def test_no_api_at_all_ends_with_1_at_once(
    pipeline: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SystemExit, match="1"):
        submit.main(["--file", str(pipeline), "--endpoint", "http://127.0.0.1:9"])

    assert "http://127.0.0.1:9: no answer" in caplog.text


def test_the_form_in_a_request_is_json(kubeflow: Kubeflow) -> None:
    argv = ["--recipe", "smoke", "--no-follow", 'gpu_node_selector={"pool": "a100"}']

    with pytest.raises(SystemExit, match="0"):
        submit.main([*argv, "--endpoint", kubeflow.endpoint])

    (run,) = kubeflow.posted("/apis/v2beta1/runs")
    assert run["runtime_config"]["parameters"]["gpu_node_selector"] == {"pool": "a100"}
    assert json.dumps(run)


def test_images_that_no_registry_has_are_refused_before_anything_is_uploaded(
    kubeflow: Kubeflow, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEBLY_REGISTRY")

    with pytest.raises(SystemExit, match="2"):
        submit.main(["--recipe", "smoke", "--endpoint", kubeflow.endpoint])

    assert "webly/text:ingest-" in caplog.text and "set WEBLY_REGISTRY" in caplog.text
    assert not kubeflow.requests
