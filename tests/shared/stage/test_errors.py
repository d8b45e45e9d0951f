import pytest

from components.shared.stage.errors import Mistakes, UserError


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
