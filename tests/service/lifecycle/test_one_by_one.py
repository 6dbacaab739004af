import pytest

from service.errors import Unavailable
from service.lifecycle.one_by_one import one_by_one


def test_what_fails_for_one_is_done_to_all_others() -> None:
    done: list[int] = []

    def act(item: int) -> int:
        if item % 2:
            raise ZeroDivisionError(item)
        done.append(item)
        return -item

    with pytest.raises(ExceptionGroup, match="failed for 2 of 5") as failed:
        one_by_one(range(5), act)
    assert done == [0, 2, 4]
    assert [str(one) for one in failed.value.exceptions] == ["1", "3"]
    assert one_by_one([2, 4], act) == [-2, -4]


def test_a_database_that_is_away_is_asked_once() -> None:
    asked: list[int] = []

    def act(item: int) -> None:
        asked.append(item)
        raise Unavailable("away")

    with pytest.raises(Unavailable):
        one_by_one(range(5), act)
    assert asked == [0]
