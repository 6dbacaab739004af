import random
from itertools import product

import pytest
from optuna.trial import TrialState

from tests.service.search.builders import GRID, History, freeze, make_spec, make_trial, params_of

POINTS = {
    freeze({"batch_size": batch_size, "epochs": epochs, "dropout": dropout})
    for batch_size, epochs, dropout in product((8, 16), (1, 2, 3), (0.0, 0.1, 0.2, 0.3))
}


def visited(seed: int = 0) -> History:
    """A study that has tried every point."""
    history = History(make_spec(search_space=GRID, sampler={"name": "grid"}, seed=seed))
    history.run(24, lambda params: 0.5)
    return history


def test_every_point_once_then_none() -> None:
    history = visited()
    assert set(params_of(history.trials)) == POINTS
    assert history.propose() is None


def test_points_are_in_the_specs_types() -> None:
    assert {type(trial.params["epochs"]) for trial in visited().trials} == {int}


def test_running_failed_and_waiting_trials_take_their_point() -> None:
    history = History(make_spec(search_space=GRID, sampler={"name": "grid"}))
    states = [TrialState.RUNNING, TrialState.FAIL, TrialState.PRUNED, TrialState.COMPLETE]
    for number in range(22):
        proposal = history.propose()
        assert proposal is not None
        history.start(proposal)
        if states[number % 4] != TrialState.RUNNING:
            state = states[number % 4]
            history.tell(number, None if state == TrialState.FAIL else 0.5, state)
    missing = POINTS - set(params_of(history.trials))
    waiting, last = sorted(missing)
    history.trials.append(make_trial(22, state=TrialState.WAITING, system_attrs={"fixed_params": dict(waiting)}))
    proposal = history.propose()
    assert proposal is not None
    assert freeze(proposal.params) == last


def test_fixed_params_are_taken_and_their_points_not_repeated() -> None:
    history = History(make_spec(search_space=GRID, sampler={"name": "grid"}))
    fixed = {"dropout": 0.2, "batch_size": 8}
    for _ in range(3):
        proposal = history.propose(dict(fixed))
        assert proposal is not None
        assert proposal.system_attrs == {"fixed_params": fixed}
        history.tell(history.start(proposal), 0.5)
    assert sorted(trial.params["epochs"] for trial in history.trials) == [1, 2, 3]
    again = history.propose(dict(fixed))
    assert again is not None, "an enqueued trial is always run"
    history.run(21, lambda params: 0.5)
    assert history.propose() is None


def test_a_grid_too_large_to_list_is_visited_without_listing_it() -> None:
    space = {name: {"type": "int", "low": 1, "high": 900} for name in ("batch_size", "epochs")}
    space["dropout"] = {"type": "float", "low": 0.0, "high": 0.9, "step": 1e-6}
    history = History(make_spec(search_space=space, sampler={"name": "grid"}, seed=3))
    history.run(30, lambda params: 0.5)
    assert len(set(params_of(history.trials))) == 30
    assert len({trial.params["batch_size"] for trial in history.trials}) > 5


def test_the_seed_decides_the_order() -> None:
    orders = [params_of(visited(seed).trials) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])


def test_the_order_of_a_grid_is_drawn_as_far_as_it_is_visited(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    whole = random.Random.randrange

    def noted(self: random.Random, *bounds: int) -> int:
        drawn.append(bounds)
        return whole(self, *bounds)

    monkeypatch.setattr(random.Random, "randrange", noted)
    space = {name: {"type": "int", "low": 1, "high": 400} for name in ("batch_size", "epochs")}
    history = History(make_spec(search_space=space, sampler={"name": "grid"}))
    history.run(3, lambda params: 0.5)
    assert len(drawn) == 1 + 2 + 3
