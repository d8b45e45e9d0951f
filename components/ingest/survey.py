"""What is understood of a data set before any of its images is read, in lines that people check.

    python -m components.ingest.survey DATASET [--layout folders] …

takes the parameters of ingest that matter here.
"""

import argparse
import inspect
import itertools
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from components.ingest import concepts, layouts, lists, plan
from components.ingest.dataset import EXTERNAL, IMAGE_SETS, SPLITS, DataSet
from components.ingest.listing import is_system
from components.ingest.lists import Block
from components.ingest.plan import BEYOND_LIMIT, Plan
from components.ingest.stage import ingest
from components.ingest.text_parts import NO_POSITION, NUM_ROWS
from components.shared.stage import cli
from components.shared.stage.interface import arguments, bound
from components.shared.storage import filesystem

_OF_LAYOUTS = ("layout", "label_field", "sources", "num_classes", "external_validation")
PARAMETERS = (*_OF_LAYOUTS, "limit", "validation_share", "seed")
# A survey by the way, of a data set that somebody is about to use, takes no longer than seconds.
_MOST_FILES, _MOST_TAR_BYTES = 10_000, 2**30
_SHOWN = 3  # classes at each end
NO_TEXTS = f"{'texts':<11} none"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; exits with 2 if the data set cannot be understood."""
    parser = argparse.ArgumentParser(
        prog="python -m components.ingest.survey",
        description="Say what ingest understands of a data set, without reading its images.",
    )
    parser.add_argument("dataset", help="its folder, local or s3://")
    helps = {argument.name: argument.help for argument in arguments(ingest)}
    for name in PARAMETERS:
        parser.add_argument(f"--{name}", help=helps[name].replace("%", "%%"))
    given = vars(parser.parse_args(argv))
    with cli.command("survey"):
        values = {name: value for name, value in given.items() if value is not None}
        sys.stdout.writelines(f"{line}\n" for line in survey(**values))


class Survey(NamedTuple):
    """What is understood of a data set.

    Attributes:
        lines: For people.
        images: The number of training images; 0 if it is not known.
    """

    lines: list[str]
    images: int = 0


def survey(dataset: str, **parameters: object) -> list[str]:
    """Return the lines for a data set, as `surveyed` does."""
    return surveyed(dataset, **parameters).lines


def surveyed(dataset: str, **parameters: object) -> Survey:
    """Return what is understood of a data set.

    Args:
        dataset: As ingest takes it.
        parameters: Any of `PARAMETERS`.

    Raises:
        UserError: It cannot be understood.
    """
    defaults = {name: each.default for name, each in inspect.signature(ingest).parameters.items()}
    values: dict[str, Any] = {name: defaults[name] for name in PARAMETERS}
    values |= bound(ingest, parameters)
    root = layouts.root(dataset)
    with tempfile.TemporaryDirectory() as scratch:
        data = layouts.read(root, Path(scratch), **{name: values.pop(name) for name in _OF_LAYOUTS})
        concepts.of_classes(data.names, data.taxonomy)  # which WordNet may be missing for
        blocks = lists.blocks(data.lists, NUM_ROWS)
        planned = plan.make(data, blocks, **values)
        return Survey(lines(root, data, blocks, planned), planned.ends[0])


def survey_if_small(dataset: str, parameters: Mapping[str, object]) -> Survey:
    """Return what is understood of a data set, or that it is too large to survey it at once."""
    root = layouts.root(dataset)
    external = layouts.external_root(str(parameters.get("external_validation", "none")))
    for folder in (root, external) if external != "none" else (root,):
        if _is_large(folder):
            command = f"python -m components.ingest.survey {dataset}"
            command += f" --external_validation {external}" * (external != "none")
            return Survey([f"{folder}: large; `{command}` surveys it"])
    others = {name: value for name, value in parameters.items() if name in PARAMETERS}
    return surveyed(dataset, **others)


def _is_large(root: str) -> bool:
    entries = itertools.islice(filesystem.listed(root, skip=is_system), _MOST_FILES + 1)
    files, tars = 0, 0
    for name, size in entries:
        files, tars = files + 1, tars + size * name.endswith(".tar")
    return files > _MOST_FILES or tars > _MOST_TAR_BYTES


def lines(root: str, data: DataSet, blocks: Sequence[Block], planned: Plan) -> list[str]:
    """Return what was understood of a data set, and what becomes of it."""
    starts = (0, *planned.ends)
    labels = dict(zip(IMAGE_SETS, (planned.labels[a:b] for a, b in itertools.pairwise(starts)),
                      strict=True))  # fmt: skip
    held_out = ", held out" if planned.held_out else ""
    found = [
        ("data set", root),
        ("layout", data.layout),
        ("classes", _classes(data.names, np.bincount(labels["train"], minlength=len(data.names)))),
        *((split, f"{len(labels[split]):,} images" + held_out * (split == "validation"))
          for split in SPLITS),
        *([("external", f"{len(labels[EXTERNAL]):,} images of {data.external.title}: "
                        f"{data.external.about}")] if data.external else []),
        ("texts", data.about_texts),
        *([("not read", data.not_read)] if data.not_read else []),
        *(("left out", left) for left in _left_out(data, blocks, planned)),
    ]  # fmt: skip
    return [f"{name:<11} {text}" for name, text in found]


def _classes(names: Sequence[str], counts: Iterable[int]) -> str:
    each = [f"{name} {count:,}" for name, count in zip(names, counts, strict=True)]
    if len(each) > 2 * _SHOWN + 1:
        each[_SHOWN:-_SHOWN] = ["…"]
    alone = "; one class alone is nothing to tell apart" if len(names) == 1 else ""
    return f"{len(names):,}, with training images: {', '.join(each)}{alone}"


def _left_out(data: DataSet, blocks: Sequence[Block], planned: Plan) -> Iterator[str]:
    kinds = Counter(reject.kind for reject in data.rejects)
    for kind, count in kinds.most_common():
        first = next(reject for reject in data.rejects if reject.kind == kind)
        yield f"{count:,} × {kind}, such as {first.id}: {first.detail}"
    for code, (kind, detail) in NO_POSITION.items():
        if count := int(np.count_nonzero(planned.positions == code)):
            row = int(np.argmax(planned.positions == code))
            yield f"{count:,} × {kind}, such as {_line(blocks, row)}: {detail}"
    if count := int(np.count_nonzero(planned.positions == BEYOND_LIMIT)):
        yield f"{count:,} × beyond the limit"
    if count := int(np.count_nonzero(planned.unlisted)):
        name = _unlisted(data, planned)
        yield f"{count:,} × unlisted image, such as {name}: in no list, or there twice"
    if data.skipped:
        names = ", ".join(sorted(data.skipped)[:_SHOWN])
        yield f"{sum(data.skipped.values()):,} × files and folders of systems, such as {names}"


def _line(blocks: Sequence[Block], row: int) -> str:
    """Return a line of the lists."""
    block = next(each for each in reversed(blocks) if each.first_row <= row)
    return next(itertools.islice(block.lines(), row - block.first_row, None))[0]


def _unlisted(data: DataSet, planned: Plan) -> str:
    """Return the first image that is in no list."""
    number = int(np.argmax(planned.unlisted))
    container = int(np.searchsorted(data.files.ends, number, side="right"))
    start = data.files.ends[container - 1] if container else 0
    ids = data.ids(data.files.containers[container])
    return next(itertools.islice(ids, number - start, None), "")


if __name__ == "__main__":
    main()
