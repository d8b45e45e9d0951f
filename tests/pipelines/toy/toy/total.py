"""A stage that adds up what others wrote."""

import json

from components.shared.stage.cli import main
from components.shared.stage.interface import InputModel, InputModels, OutputDataset, OutputMetrics


def total(
    parts: InputModels,
    total: OutputDataset,
    metrics: OutputMetrics,
    bonus: InputModel | None = None,
    *,
    factor: float = 1.0,
) -> None:
    """Add up numbers.

    Args:
        parts: Folders with numbers.
        total: A file with the labels in the order given, and the sum.
        metrics: The sum.
        bonus: A folder with more numbers.
        factor: What to multiply the sum with.
    """
    folders = [*parts, *([bonus] if bonus else [])]
    contents = [json.loads((folder / "numbers.json").read_text()) for folder in folders]
    labels = "".join(label for label, _ in contents)
    result = factor * sum(sum(values) for _, values in contents)
    total.write_text(json.dumps([labels, result]))
    metrics.write_text(json.dumps({"sum": result}))


if __name__ == "__main__":
    main(total)
