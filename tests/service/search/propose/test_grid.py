from optuna.trial import TrialState

from service.search.propose.grid import grid_points, grid_size
from tests.service.search.builders import GRID, History, freeze, make_spec, make_trial, params_of


def test_every_point_once_then_none() -> None:
    history = History(make_spec(search_space=GRID, sampler={"name": "grid"}))
    history.run(24, lambda params: 0.5)
    assert grid_size(history.spec) == 24
    assert set(params_of(history.trials)) == {freeze(params) for params in grid_points(history.spec)}
    assert len(set(params_of(history.trials))) == 24
    assert history.propose() is None


def test_points_are_on_the_steps_and_in_the_specs_types() -> None:
    points = list(grid_points(make_spec(search_space=GRID, sampler={"name": "grid"})))
    assert {point["dropout"] for point in points} == {0.0, 0.1, 0.2, 0.3}
    assert {type(point["epochs"]) for point in points} == {int}


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
    missing = {freeze(p) for p in grid_points(history.spec)} - set(params_of(history.trials))
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
    orders = [
        [freeze(p) for p in grid_points(make_spec(search_space=GRID, sampler={"name": "grid"}, seed=seed))]
        for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])
