import numpy as np
import pytest

from components.tagging.boilerplate import Boilerplate
from components.tagging.perceptron import Perceptron


def without_boilerplate(text: str) -> str:
    perceptron = Perceptron({}, {}, ["NN"])
    words = np.array([perceptron.number(word) for word in text.split()], np.int32)
    ends = words == perceptron.number(".")
    found = Boilerplate(perceptron).among(words, np.cumsum(ends) - ends)
    return " ".join(np.array(text.split())[~found].tolist())


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("A Stock Photo of a dog . A stock car .", "A of a dog . A stock car ."),
        ("All rights reserved , John Smith . A dog .", "A dog ."),
        ("A dog . Taken with my Nikon in Paris .", "A dog ."),
        ("Photo by Smith : a dog . A cat .", ": a dog . A cat ."),
        ("please do n't copy . dog", ". dog"),
        ("this dog takes photos by the sea", "this dog takes"),  # what it costs
        ("a dog", "a dog"),
        ("", ""),
    ],
)
def test_finds_what_pages_say_of_themselves(text: str, rest: str) -> None:
    assert without_boilerplate(text).removeprefix(". ") == rest.removeprefix(". ")


def test_remembers_nothing_of_forgotten_words() -> None:
    perceptron = Perceptron({}, {}, ["NN"])
    boilerplate = Boilerplate(perceptron)
    first = np.array([perceptron.number(word) for word in ("stock", "photo")], np.int32)
    assert boilerplate.among(first, np.zeros(2, np.int64)).all()

    perceptron.forget()
    boilerplate.forget()

    again = np.array([perceptron.number(word) for word in ("brown", "dog")], np.int32)
    assert again.tolist() == first.tolist()
    assert not boilerplate.among(again, np.zeros(2, np.int64)).any()
