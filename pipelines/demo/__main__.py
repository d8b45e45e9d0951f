"""The command `python -m pipelines.demo FOLDER`."""

import argparse
import logging
import sys
from pathlib import Path

from components.shared.interface import UserError
from pipelines.demo import webvision

parser = argparse.ArgumentParser(
    prog="python -m pipelines.demo", description="Draw the demo's data set."
)
parser.add_argument("folder", type=Path, help="where to write it; nothing happens if it is there")
logging.basicConfig(
    level="INFO", format="%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"
)
try:
    webvision.write(parser.parse_args().folder)
except UserError as error:
    logging.error("%s", error)
    sys.exit(2)
