"""Run the pipeline on a Kubeflow cluster, and follow it.

    python -m pipelines.submit --recipe paper finetune_epochs=20    # upload, start, follow
    python -m pipelines.submit --recipe paper --set training.image_size=192
    python -m pipelines.submit --recipe paper --rerun finetune      # with all that follows it
    python -m pipelines.submit diff --recipe paper                  # what would run, and why
    python -m pipelines.submit --check --recipe paper               # is everything set up?
    python -m pipelines.submit follow RUN
    python -m pipelines.submit retry RUN                            # what failed, and follow it

Exits with 0 if the run succeeded, 1 if it did not, 2 if the user can fix the error, and 130 when
interrupted: the run continues.
"""

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from components.shared.stage.boundary import boundary
from components.shared.stage.environment import parsed
from components.shared.stage.errors import UserError
from components.shared.stage.interface import Range
from pipelines import task_checks
from pipelines.cluster import difference, history, preflight
from pipelines.cluster.kfp_api import Access, Cluster, ClusterError
from pipelines.cluster.kubernetes_api import Namespace
from pipelines.cluster.pod_settings import Backend
from pipelines.cluster.submission import Submission, prepare
from pipelines.cluster.watch import follow
from pipelines.compile import compile_recipe
from pipelines.images import require_registries
from pipelines.recipe import load
from pipelines.recipe_arguments import add_recipe
from pipelines.run import table
from pipelines.steps import STEPS, field_name

logger = logging.getLogger("pipelines.submit")  # also where this is `__main__`
_LOGS = Path("runs")
_IMAGES, _RATE = Range(at_least=0, at_most=10**12), Range(at_least=0, at_most=10**6)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    given = _parser().parse_intermixed_args(argv)
    logging.basicConfig(format="%(message)s", level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("pipelines").setLevel(logging.INFO)
    access = Access(given.endpoint, given.namespace, given.token_file)
    with boundary(stopped="stopped; no run was started"):
        sys.exit(_run(given, access))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.submit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("arguments", nargs="*", metavar="name=value", help="pipeline parameters of this run")
    add_recipe(parser, default="paper")
    add("--file", type=Path, help="a compiled pipeline, instead of a recipe")
    add(
        "--backend",
        choices=get_args(Backend),
        default="2.17",
        help="oldest version of KFP's backend to compile the recipe for (default: 2.17)",
    )
    add(
        "--rerun",
        action="append",
        default=[],
        metavar="NAME",
        help="a stage, step or task to rerun",
    )
    add("--no-cache", action="store_true", help="rerun all tasks")
    add("--no-follow", action="store_true", help="start the run and exit")
    add("--dry-run", action="store_true", help="show what would be done; no network")
    add("--check", action="store_true", help="check that everything a run needs is there")
    add(
        "--images",
        default="0",
        metavar="NUMBER",
        help=f"number of training images, for the estimate of --check, {_IMAGES}",
    )
    add(
        "--images-per-second",
        default="0",
        metavar="NUMBER",
        help=f"training throughput of a GPU at 224 pixels, likewise, {_RATE}",
    )
    add("--experiment", default="", help="the run's experiment (default: the pipeline's name)")
    add("--service-account", default="", help="the pods' service account (default: KFP's own)")
    add("--run", default="", help="diff: compare with this run (default: the latest ten)")
    add(
        "--against",
        nargs="+",
        default=[],
        metavar="PATH [name=value]",
        help="diff: compare with a local run's folder, or with a compiled pipeline that ran with "
        "these parameters",
    )
    add("--endpoint", default="", help="the API's URL (default: KFP_ENDPOINT, else kubectl's)")
    add("--namespace", default="", help="your namespace, on a multi-user Kubeflow")
    add(
        "--token-file",
        default="",
        help="a file with a token (default: KFP_TOKEN's value, or "
        "the file at KF_PIPELINES_SA_TOKEN_PATH)",
    )
    return parser


def _run(given: argparse.Namespace, access: Access) -> int:
    command, *overrides = given.arguments or [""]
    if command in ("follow", "retry"):
        if len(overrides) != 1:
            raise UserError(f"{command}: give the id of one run")
        cluster, (run,) = Cluster(access), overrides
        if command == "retry":
            cluster.retry(run)
        return _follow(cluster, access, run)
    if command != "diff":
        overrides = given.arguments
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pipeline.yaml"
        if given.file is None:
            compile_recipe(load(given.recipe, given.set), file, backend=given.backend)
        elif given.set:
            raise UserError("--set: changes a recipe, but --file is compiled already")
        elif given.file.is_file():
            file.write_bytes(given.file.read_bytes())
        else:
            raise UserError(f"{given.file}: no such file")
        title = Path(given.file or given.recipe).stem
        submission = prepare(file, overrides, given.rerun, not given.no_cache, title)
        if given.check:
            return _check(submission, given, access)
        if command == "diff":
            return _diff(submission, given, access)
        task_checks.check_elsewhere(submission.graph.tasks)
        if given.dry_run:
            return _rehearse(submission, given, access)
        return _start(submission, given, access)


def _start(submission: Submission, given: argparse.Namespace, access: Access) -> int:
    require_registries(submission.graph.images)
    cluster, name = Cluster(access), submission.graph.name
    experiment = cluster.experiment(given.experiment or name)
    version = submission.version
    if submission.uncached:
        source: tuple[str, str] | Path = submission.file
        logger.info(
            "caching is off for %s: later runs cannot reuse the outputs",
            ", ".join(sorted(submission.uncached)),
        )
    else:
        pipeline, identity, version = cluster.upload(
            submission.file, name, version, submission.graph.description
        )
        source = (pipeline, identity)
    run = cluster.start(
        experiment,
        submission.name,
        submission.graph.form,
        source,
        given.service_account,
        submission.description,
    )
    logger.info("pipeline  %s, version %s", name, version)
    reruns = [field_name(step, "rerun") for step in STEPS]
    for field, value in submission.graph.form.items():
        if field in reruns and value:
            logger.info("for later runs to reuse this one's outputs, set %s=%s", field, value)
    if given.no_follow:
        logger.info("run       %s", cluster.link(run))
        logger.info("follow    python -m pipelines.submit follow %s%s", run, access.options())
        return 0
    return _follow(cluster, access, run)


def _follow(cluster: Cluster, access: Access, run: str) -> int:
    logger.info("run       %s", cluster.link(run))
    again = f"python -m pipelines.submit follow {run}{access.options()}"
    try:
        pipeline = cluster.graph(cluster.run(run))
        show = table.LiveTable(sys.stderr)
        cluster.say = show.say
        state, run_record = follow(cluster, run, pipeline, _LOGS, Namespace(access.pods()), show)
    except KeyboardInterrupt:
        logger.error("the run continues; to follow it again: %s", again)
        return 130
    except ClusterError as error:
        logger.error("%s; the run may continue; to follow it again: %s", error, again)
        return 1
    logger.info("%s  %s", state, cluster.link(run))
    for line in table.failures(run_record):
        logger.info("  %s", line)
    if state in ("failed", "cancelled"):
        logger.info(
            "to run what is missing: python -m pipelines.submit retry %s%s", run, access.options()
        )
    return 0 if state == "succeeded" else 1


def _check(submission: Submission, given: argparse.Namespace, access: Access) -> int:
    def connect() -> str:
        Cluster(access)
        return access.url() or "through kubectl's configuration"

    missing = False
    namespace = Namespace(access.pods())
    for check in preflight.run(
        connect, namespace, submission.graph, submission.file, given.service_account
    ):
        logger.info("%s", check)
        missing |= check.state == "missing"
    images = parsed("--images", given.images, int, _IMAGES)
    rate = parsed("--images-per-second", given.images_per_second, float, _RATE)
    for line in preflight.estimates(submission.graph, int(images), float(rate)):
        logger.info("%s", line)
    return int(missing)


def _diff(submission: Submission, given: argparse.Namespace, access: Access) -> int:
    name = submission.graph.name
    if given.against:
        path, *overrides = given.against
        runs = [history.from_files(Path(path), overrides)]
    elif given.run:
        runs = [history.of(Cluster(access), given.run, name)]
    else:
        runs = history.latest(Cluster(access), given.experiment or name, name)
    for line in difference.lines(difference.compare(submission.graph, runs)):
        logger.info("%s", line)
    return 0


def _rehearse(submission: Submission, given: argparse.Namespace, access: Access) -> int:
    """Show what a start would do."""
    name, url = submission.graph.name, access.url() or "http://ENDPOINT"
    experiment = given.experiment or name
    api = f"{url}/apis/v2beta1"
    logger.info("POST %s/experiments  %s, unless it exists", api, experiment)
    if submission.uncached:
        logger.info("caching is off for %s", ", ".join(sorted(submission.uncached)))
        source = f"{submission.file.name} itself: an uploaded version would use the cache"
    else:
        logger.info("POST %s/pipelines  %s, unless it exists", api, name)
        logger.info(
            "POST %s/pipelines/upload_version  %s, unless it exists", api, submission.version
        )
        source = f"version {submission.version}"
    logger.info("POST %s/runs  %s, from %s, with", api, submission.name, source)
    for field, value in submission.graph.form.items():
        logger.info("  %s=%s", field, value if isinstance(value, str) else json.dumps(value))
    return 0


if __name__ == "__main__":
    main()
