import numpy as np

from components.shared.data.sequences import Sequences

NAMES = ["sea lion", "california sea lion", "lion", "sea", "sea sea"]
SEQUENCES = Sequences([name.split() for name in NAMES])


def found(text: str) -> list[tuple[int, str]]:
    words = np.array([SEQUENCES.words.get(word, -1) for word in text.split()], np.int32)
    return [
        (start, NAMES[number])
        for starts, length, numbers in SEQUENCES.find(words)
        for start, number in zip(starts.tolist(), numbers.tolist(), strict=True)
        if length == len(NAMES[number].split())
    ]


def test_finds_all_that_are_there_the_shortest_first() -> None:
    assert found("a california sea lion") == [
        *[(2, "sea"), (3, "lion")],
        *[(2, "sea lion")],
        *[(1, "california sea lion")],
    ]


def test_finds_sequences_that_overlap() -> None:
    assert found("sea sea sea")[3:] == [(0, "sea sea"), (1, "sea sea")]


def test_a_sequence_may_not_go_beyond_the_end_or_over_other_words() -> None:
    assert found("california sea") == [(1, "sea")]
    assert found("california x sea lion") == [(2, "sea"), (3, "lion"), (2, "sea lion")]


def test_of_equal_sequences_the_first_is_found() -> None:
    both = Sequences([["dog"], ["dog"]])
    assert [each.numbers.tolist() for each in both.find(np.zeros(1, np.int32))] == [[0]]


def test_no_sequences_and_no_words_find_nothing() -> None:
    assert list(Sequences([]).find(np.array([-1]))) == []
    assert found("") == []
