"""What to take away from a run: the last lines in the terminal, the first ones of its report."""

import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipelines.run import models
from pipelines.run.models import Best
from pipelines.run.record import RunRecord, pretraining_titles
from pipelines.steps import STEPS


def lines(run: RunRecord, folder: Path, report: Path) -> Iterator[tuple[str, str]]:
    """Yield what each line is about and its text.

    Args:
        run: The run's record.
        folder: Its folder, with links to its models.
        report: The report.
    """
    found = models.best(run)
    if found and (folder / models.BEST).exists():  # earlier versions made no links
        yield from _about(found, folder, pretraining_titles(run.tasks))
    yield "report", shown(report)
    suspects = folder / models.SUSPECTS
    if suspects.is_symlink():
        import pyarrow as pa

        from components.shared.storage import arrays

        with arrays.opened(suspects / "suspects.parquet", pa.schema([])) as table:
            count = table.metadata.num_rows
        yield "suspects", f"{shown(suspects)}/suspects.csv: {count:,} labels look wrong"


def _about(best: Best, folder: Path, titles: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    from components.compare.tables import accuracy_text  # imports scipy

    whose = [best.task.candidate.title(titles), STEPS[best.task.step].title]
    yield "best model", f"{shown(folder / models.BEST)}: {', '.join(filter(None, whose))}"
    yield "accuracy", accuracy_text(best.accuracy, best.ensemble, halved=best.halved)
    if best.external:
        title, *accuracies = best.external
        yield "external", f"{title}: {accuracy_text(*accuracies)}"
    yield "use it", _command(folder)
    if best.ensemble:
        # Not the ensemble itself, which has earlier models too, with shares.
        yield "together", _command(folder / models.MODELS, f"/{best.members}")


def _command(path: Path, pattern: str = "") -> str:
    python = Path(shown(Path(sys.executable)))
    command = "python" if python.is_absolute() else shlex.quote(str(python))
    which = shlex.quote(shown(path)) + pattern
    return f"{command} -m pipelines.predict {which} --images FOLDER"


def shown(path: Path) -> str:
    """Return a path as people type it: from the working directory, if it is below that."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith(os.pardir) else relative
