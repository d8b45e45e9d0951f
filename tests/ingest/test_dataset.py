import pytest

from components.ingest.dataset import number


@pytest.mark.parametrize(
    ("text", "value"),
    [("7", 7), ("007", 7), ("999999999", 999_999_999), ("9" * 5_000, -1), ("", -1), ("-1", -1),
     ("1.5", -1), ("nine", -1)],
)  # fmt: skip
def test_a_number_is_a_text_of_few_digits(text: str, value: int) -> None:
    assert number(text) == value
