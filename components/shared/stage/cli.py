"""A stage as a command: `python -m components.tagging --texts … --vocabulary_size 500`.

A KFP launcher calls the same command with its ExecutorInput in place of the artifacts and of some
parameters (see `container.py`).
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from components.shared.stage import container, environment, tries
from components.shared.stage.boundary import USER_ERROR, boundary
from components.shared.stage.interface import Argument, Stage, arguments, call, summary
from components.shared.stage.suggestions import meant


def main(stage: Stage, argv: Sequence[str] | None = None) -> None:
    """Run a stage with command-line arguments, or with an ExecutorInput as the first of them.

    Exits as `command` says.
    """
    argv = sys.argv[1:] if argv is None else argv
    with command(stage.__name__):
        if argv and argv[0].startswith("{"):
            tries.in_child_processes(tries.retries(), hopeless=USER_ERROR)
            container.run(stage, container.request(argv))
        else:
            call(stage, parse(stage, argv))


@contextmanager
def command(name: str) -> Iterator[None]:
    """Run a block as the body of a command: set up logging, turn errors into exit codes.

    Exits as `boundary` says.
    """
    logging.basicConfig(
        level="INFO", format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    with boundary(name):
        logging.getLogger("components").setLevel(environment.log_level())
        yield


def parse(stage: Stage, argv: Sequence[str]) -> dict[str, object]:
    """Parse a command line; return what `call` takes."""
    parser = argparse.ArgumentParser(
        prog=f"python -m components.{stage.__name__}",
        description=summary(stage),
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    for argument in arguments(stage):
        _add(parser, argument)
    given, unknown = parser.parse_known_args(argv)
    flags = [f"--{argument.name}" for argument in arguments(stage)]
    for word in unknown:
        name = word.partition("=")[0]
        parser.error(f"unrecognized argument {word}: {meant(name, flags)}")
    return vars(given)


def _add(parser: argparse.ArgumentParser, argument: Argument) -> None:
    flag, help = f"--{argument.name}", argument.help.replace("%", "%%")
    if argument.artifact is None:
        metavar = "{" + ",".join(argument.choices) + "}" if argument.choices else None
        parser.add_argument(flag, default=argument.default, help=help, metavar=metavar)
    elif argument.artifact.many:
        parser.add_argument(flag, type=Path, nargs="+", required=True, help=help)
    elif argument.optional:
        parser.add_argument(flag, type=Path, help=help)
    else:
        parser.add_argument(flag, type=Path, required=True, help=help)
