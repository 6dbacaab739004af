"""Results are kept by which object a function was given."""

from spezia.contract.remember import remember


def test_the_same_object_is_asked_for_once() -> None:
    asked: list[dict[str, int]] = []

    @remember(2)
    def size(one: dict[str, int]) -> int:
        asked.append(one)
        return len(one)

    first, equal = {"a": 1}, {"a": 1}
    assert [size(first), size(first), size(equal), size(first)] == [1, 1, 1, 1]
    assert len(asked) == 2
    assert asked[0] is first
    assert asked[1] is equal


def test_the_last_results_are_kept_and_no_more() -> None:
    asked: list[int] = []

    @remember(2)
    def first(one: list[int]) -> int:
        asked.append(one[0])
        return one[0]

    lists = [[0], [1], [2]]
    assert [first(one) for one in [*lists, lists[2], lists[0]]] == [0, 1, 2, 2, 0]
    assert asked == [0, 1, 2, 0]


def test_a_new_object_where_an_old_one_lay_is_another_one() -> None:
    @remember(1000)
    def total(one: list[int]) -> int:
        return sum(one)

    assert [total([number]) for number in range(200)] == list(range(200))
