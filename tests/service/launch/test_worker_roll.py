"""Workers that start before the service is there, and what it hears of them."""

import pytest

from service.launch.worker_roll import WorkerRoll


def test_a_service_hears_of_the_workers_that_live_and_of_later_ones_before_they_start() -> None:
    roll, admitted, retired = WorkerRoll(), dict[str, str](), list[str]()
    keys = {worker_id: roll.enter(worker_id) for worker_id in ("a", "b", "c")}
    roll.strike_off("b")
    roll.report_to(admit=admitted.__setitem__, retire=retired.append)
    assert admitted == {"a": keys["a"], "c": keys["c"]}
    assert retired == []
    assert roll.enter("d") == admitted["d"] not in keys.values()
    roll.strike_off("a")
    assert retired == ["a"]


def test_a_worker_that_cannot_be_admitted_is_not_on_the_roll() -> None:
    def refuse(worker_id: str, key: str) -> None:
        raise RuntimeError("the database is away")

    roll, admitted = WorkerRoll(), dict[str, str]()
    roll.report_to(admit=refuse, retire=admitted.pop)
    with pytest.raises(RuntimeError, match="away"):
        roll.enter("a")
    roll.report_to(admit=admitted.__setitem__, retire=admitted.pop)
    assert admitted == {}
