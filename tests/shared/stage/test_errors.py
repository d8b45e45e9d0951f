import pytest

from components.shared.stage.errors import Mistakes, UserError, shortened, shown


def test_mistakes_are_told_together_each_once_with_its_place() -> None:
    mistakes = Mistakes()
    for place, message in (("a: ", "wrong"), ("b: ", "wrong"), ("a: ", "wrong")):
        with mistakes.collected(place):
            raise UserError(message)

    with pytest.raises(UserError) as told:
        mistakes.tell()

    assert str(told.value) == "a: wrong\nb: wrong"


def test_without_mistakes_nothing_is_told() -> None:
    mistakes = Mistakes()
    with mistakes.collected():
        pass

    mistakes.tell()


def test_other_errors_are_not_collected() -> None:
    with pytest.raises(KeyError), Mistakes().collected():
        raise KeyError


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("short", "'short'"),
        (10**400, "(an integer of about 401 digits)"),
        (-(10**5_000), "-(an integer of about 5,00"),
        ({"a": [1, {"b": [[[1]]]}]}, "{'a': [1, {'b': [...]}]}"),
        (list(range(10_000)), "[0, 1, 2, 3, 4, 5, 6, 7, ...]"),
        ("x" * 10**7, "'xxx"),
        ("a\nb\ud800", r"'a\nb\ud800'"),
    ],
    ids=lambda value: repr(value)[:20] if isinstance(value, str) else type(value).__name__,
)
def test_any_value_is_shown_on_one_short_line(value: object, said: str) -> None:
    assert shown(value).startswith(said)
    assert len(shown(value)) < 200


def test_a_text_is_shown_as_it_is_if_it_is_short() -> None:
    assert shortened("finetune.epochs=3") == "finetune.epochs=3"
    assert shortened("a\nb") == r"'a\nb'"


def test_of_very_many_mistakes_the_first_are_told() -> None:
    mistakes = Mistakes()
    for number in range(1_000):
        with mistakes.collected():
            raise UserError(f"mistake {number}")

    with pytest.raises(UserError, match=r"mistake 19\n… and 980 more$"):
        mistakes.tell()
