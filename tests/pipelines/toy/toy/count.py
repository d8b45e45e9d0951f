"""A stage that writes numbers into a folder."""

import json

from components.shared.stage.cli import main
from components.shared.stage.errors import UserError
from components.shared.stage.interface import OutputMetrics, OutputModel


def count(
    numbers: OutputModel,
    metrics: OutputMetrics,
    *,
    start: int = 0,
    size: int = 3,
    label: str = "a",
    twice: bool = False,
) -> None:
    """Write numbers.

    Args:
        numbers: A folder with the numbers.
        metrics: Their sum.
        start: The first.
        size: How many; not negative.
        label: Any text.
        twice: Whether each counts twice.
    """
    if size < 0:
        raise UserError(f"size={size}: it must not be negative")
    values = [value * (1 + twice) for value in range(start, start + size)]
    numbers.mkdir(exist_ok=True)
    (numbers / "numbers.json").write_text(json.dumps([label, values]))
    metrics.write_text(json.dumps({"sum": sum(values)}))


if __name__ == "__main__":
    main(count)
