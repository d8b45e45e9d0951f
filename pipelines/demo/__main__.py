"""The command `python -m pipelines.demo FOLDER`."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

from components.shared.stage.boundary import boundary
from pipelines.demo import webvision

logger = logging.getLogger("pipelines.demo")


def main(argv: Sequence[str] | None = None) -> None:
    """Draw the demo's data set."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.demo",
        description=main.__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "folder", type=Path, help="the folder to write it to, unless it is already there"
    )
    for name, parameter in webvision.parameters().items():
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, default=parameter.default, help=parameter.help)
    given = vars(parser.parse_args(argv))
    logging.basicConfig(
        level="INFO", format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
    )
    with boundary():
        webvision.write(given.pop("folder"), webvision.parse(given))


if __name__ == "__main__":
    main()
