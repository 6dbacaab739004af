"""Which workers of a cluster are made and removed: a table of situations, and what holds in all of them."""

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.launch.reconcile import ActorState, Decision, SeenActor, reconcile, worker_names


def actor(number: int, state: ActorState, is_busy: bool = False) -> SeenActor:
    return SeenActor(name=f"worker-{number}", state=state, is_busy=is_busy)


def busy(number: int) -> SeenActor:
    return actor(number, "working", is_busy=True)


@pytest.mark.parametrize(
    ("seen", "n_open", "at_most", "decided"),
    [
        pytest.param([], 0, 3, Decision(), id="nobody is made without work"),
        pytest.param([], 2, 3, Decision(create=("worker-0", "worker-1")), id="one is made for each piece of work"),
        pytest.param([], 9, 2, Decision(create=("worker-0", "worker-1")), id="there are never more than allowed"),
        pytest.param([busy(1)], 1, 3, Decision(create=("worker-0",)), id="a busy one does not take what is open"),
        pytest.param([actor(1, "working")], 1, 3, Decision(), id="one that waits for work takes it"),
        pytest.param([actor(0, "unplaced")], 1, 3, Decision(), id="one that waits for a place will take it"),
        pytest.param([actor(0, "placed")], 1, 3, Decision(start=("worker-0",)), id="one that has a place is started"),
        pytest.param([actor(0, "unplaced")], 0, 3, Decision(remove=("worker-0",)), id="no place is needed any more"),
        pytest.param([actor(0, "placed")], 0, 3, Decision(remove=("worker-0",)), id="it has a place and no work"),
        pytest.param(
            [actor(0, "placed"), actor(1, "unplaced")],
            1,
            3,
            Decision(start=("worker-0",), remove=("worker-1",)),
            id="of two those without a place go first",
        ),
        pytest.param([actor(0, "working")], 0, 3, Decision(), id="one that waits for work ends by itself"),
        pytest.param([busy(0), busy(1)], 0, 1, Decision(), id="a busy one is kept though fewer are allowed now"),
        pytest.param([actor(0, "ended")], 0, 3, Decision(remove=("worker-0",)), id="one that has ended is removed"),
        pytest.param(
            [actor(0, "ended")],
            3,
            2,
            Decision(create=("worker-1",), remove=("worker-0",)),
            id="its name is free when it is gone",
        ),
        pytest.param(
            [actor(0, "stale", is_busy=True)],
            1,
            2,
            Decision(create=("worker-1",), end=("worker-0",)),
            id="a stale one ends and another takes its place",
        ),
        pytest.param([actor(0, "ending")], 1, 1, Decision(), id="one that ends has its name until it is gone"),
    ],
)
def test_what_is_decided(seen: list[SeenActor], n_open: int, at_most: int, decided: Decision) -> None:
    assert reconcile(seen, n_open=n_open, at_most=at_most) == decided


def seen_actors() -> st.SearchStrategy[list[SeenActor]]:
    states = st.sampled_from(get_args(ActorState))
    pairs = st.dictionaries(st.integers(0, 6), st.tuples(states, st.booleans()), max_size=7)
    return pairs.map(
        lambda found: [
            # who holds a lease has a worker
            actor(number, state, is_busy and state in ("working", "stale", "ending"))
            for number, (state, is_busy) in found.items()
        ]
    )


def after(seen: list[SeenActor], decision: Decision) -> list[SeenActor]:
    """The actors when all has been done: Ray has placed whom it could, and whoever was to end has."""
    left = [one for one in seen if one.name not in decision.remove and one.state not in ("stale", "ending")]
    started = [replace(one, state="working") if one.name in decision.start else one for one in left]
    return started + [SeenActor(name=name, state="unplaced") for name in decision.create]


@given(seen_actors(), st.integers(0, 9), st.integers(0, 7))
def test_in_every_situation(seen: list[SeenActor], n_open: int, at_most: int) -> None:
    decision = reconcile(seen, n_open=n_open, at_most=at_most)
    states = {one.name: one for one in seen}
    todo = (*decision.create, *decision.start, *decision.end, *decision.remove)
    assert len(set(todo)) == len(todo), "two things are done with one actor"
    assert not set(decision.create) & states.keys(), "a name is given twice"
    assert set(decision.create) <= set(worker_names(at_most))
    assert not any(states[name].is_busy for name in decision.remove), "work was lost"
    assert all(states[name].state == "stale" for name in decision.end)
    usable = [one for one in after(seen, decision) if one.state in ("unplaced", "placed", "working")]
    n_had = sum(one.state == "working" for one in seen)
    assert len(usable) <= max(at_most, n_had), "more than allowed"
    assert len(usable) <= max(n_open + sum(one.is_busy for one in usable), n_had), "more than there is work for"


@given(seen_actors(), st.integers(0, 9), st.integers(0, 7))
def test_what_was_done_is_not_done_again(seen: list[SeenActor], n_open: int, at_most: int) -> None:
    for _ in range(3):  # a name is free again only when its actor is gone
        seen = after(seen, reconcile(seen, n_open=n_open, at_most=at_most))
    settled = reconcile(seen, n_open=n_open, at_most=at_most)
    assert (settled.create, settled.end, settled.remove) == ((), (), ())
    n_wanted = min(at_most, n_open + sum(one.is_busy for one in seen))
    assert len(seen) >= n_wanted or len(seen) >= at_most
