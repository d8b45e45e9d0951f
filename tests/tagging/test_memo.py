import numpy as np

from components.tagging.memo import Memo


def test_asks_for_each_number_once_until_it_forgets() -> None:
    asked: list[int] = []

    def squares(numbers: list[int]) -> list[int]:
        asked.extend(numbers)
        return [number**2 for number in numbers]

    memo = Memo(squares)
    assert memo[np.array([3, 5_000, 3, 0])].tolist() == [9, 25_000_000, 9, 0]
    assert memo[np.array([5_000, 4])].tolist() == [25_000_000, 16]
    assert memo[np.array([], np.int64)].tolist() == []
    assert asked == [0, 3, 5_000, 4]

    memo.forget()
    assert memo[np.array([3])].tolist() == [9]
    assert asked == [0, 3, 5_000, 4, 3]
