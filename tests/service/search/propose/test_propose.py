import json
import math
import os
import subprocess
import sys
from typing import Any

import optuna
import pytest
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from service.optuna_private import tell_search_space
from service.search.propose.propose import ProposalRequest, propose
from service.search.propose.samplers import build_sampler
from service.search.results.ranking import best_trial
from service.search.seeds import trial_seed
from service.search.space.distributions import to_optuna
from spezia.contract.ranges import value_problem
from spezia.contract.samplers import Sampler
from spezia.contract.tasks import Direction
from tests.service.search.builders import SPACE, History, Unseen, make_spec, make_trial, names_of, params_of, toy_loss

SAMPLERS: list[dict[str, Any]] = [
    {"name": "tpe"},
    {"name": "tpe", "options": {"multivariate": False, "constant_liar": False, "n_ei_candidates": 5}},
    {"name": "tpe", "options": {"group": True, "n_startup_trials": 0}},
    {"name": "random"},
    {"name": "cmaes"},
    {"name": "cmaes", "options": {"sigma0": 0.2, "popsize": 4, "consider_pruned_trials": True}},
    {"name": "cmaes", "options": {"use_separable_cma": True, "n_startup_trials": 3}},
    {"name": "cmaes", "options": {"with_margin": True}},
    {"name": "cmaes", "options": {"lr_adapt": True}},
    {"name": "multi-fidelity"},
    {"name": "multi-fidelity", "options": {"n_startup_trials": 2, "random_share": 0.0}},
    {"name": "qmc"},
    {"name": "qmc", "options": {"qmc_type": "halton", "scramble": True}},
    {"name": "nsga2", "options": {"population_size": 5, "mutation_prob": 0.2}},
    {"name": "nsga3", "options": {"population_size": 5, "dividing_parameter": 2, "crossover_prob": 0.5}},
]
by_name = pytest.mark.parametrize("sampler", SAMPLERS, ids=json.dumps)


def test_every_sampler_of_the_contract_is_tried() -> None:
    # the sampler gp is tried in test_proposer, the grid in test_grid
    assert {str(sampler["name"]) for sampler in SAMPLERS} == names_of(Sampler) - {"gp", "grid"}


@by_name
def test_thirty_trials_stay_inside_the_space_and_do_not_repeat(sampler: dict[str, Any]) -> None:
    history = History(make_spec(sampler=sampler, seed=7))
    history.run(30)
    for trial in history.trials:
        assert list(trial.params) == list(SPACE)
        for name, value in trial.params.items():
            distribution = history.spec.search_space[name]
            assert not isinstance(distribution, list)
            assert value_problem(distribution, value) is None
    assert len(set(params_of(history.trials[:5]))) == 5
    if not sampler["name"].startswith("nsga"):  # a child may be its parent's twin
        assert len(set(params_of(history.trials))) == 30


@by_name
def test_the_same_history_gives_the_same_proposal(sampler: dict[str, Any]) -> None:
    first, again = (History(make_spec(sampler=sampler, seed=1)) for _ in range(2))
    first.run(25)
    again.run(25)
    assert params_of(first.trials) == params_of(again.trials)
    assert first.study_system_attrs == again.study_system_attrs


def test_tpe_improves_on_its_first_trials() -> None:
    history = History(make_spec(seed=3))
    history.run(30)
    losses = [toy_loss(trial.params) for trial in history.trials]
    assert min(losses[10:]) < min(losses[:10])
    best = best_trial(history.trials, make_spec())
    assert best is not None
    assert best.value == min(losses)


@pytest.mark.parametrize("sampler", SAMPLERS[:-2], ids=json.dumps)
def test_several_running_at_once_get_different_params(sampler: dict[str, Any]) -> None:
    history = History(make_spec(sampler=sampler))
    history.run(12)
    for _ in range(4):
        proposal = history.propose()
        assert proposal is not None
        history.start(proposal)
    assert len(set(params_of(history.trials))) == 16


def test_another_process_proposes_the_same() -> None:
    program = (
        "from tests.service.search.builders import *\n"
        "history = History(make_spec(sampler={'name': 'nsga2', 'options': {'population_size': 4}}))\n"
        "history.run(12)\n"
        "history.spec = make_spec()\n"
        "print(history.propose().params, history.study_system_attrs)"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", program],
            check=True,
            timeout=60,
            capture_output=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(seen) == 1


def test_another_seed_or_number_gives_other_params() -> None:
    seeds = {trial_seed(study, number) for study in range(50) for number in range(50)}
    assert len(seeds) == 2500


@by_name
def test_fixed_params_are_taken_and_the_rest_is_sampled(sampler: dict[str, Any]) -> None:
    history = History(make_spec(sampler=sampler))
    history.run(15)
    fixed = {"batch_size": 32, "learning_rate": 5e-5}
    proposal = history.propose(dict(fixed))
    assert proposal is not None
    assert proposal.params.items() >= fixed.items()
    assert proposal.params.keys() == SPACE.keys()
    assert proposal.system_attrs["fixed_params"] == fixed


def test_params_come_in_the_types_of_the_spec() -> None:
    space = {
        "batch_size": {"type": "categorical", "choices": [8, 16]},
        "dropout": {"type": "categorical", "choices": [0, 0.5]},
        "weight_decay": {"type": "float", "low": 0.0, "high": 1.0},
    }
    proposal = History(make_spec(search_space=space)).propose({"weight_decay": 0})
    assert proposal is not None
    assert type(proposal.params["weight_decay"]) is float
    assert {type(proposal.params[name]) for name in ("batch_size", "dropout")} <= {int, float}
    assert proposal.params["dropout"] in (0, 0.5)


def test_nothing_given_is_changed() -> None:
    history = History(make_spec(sampler={"name": "nsga2", "options": {"population_size": 3}}))
    history.run(7)
    before = repr(history.trials)
    request = history.request()
    history.propose()
    assert repr(history.trials) == before
    assert request.study_system_attrs == history.study_system_attrs


def test_trials_that_wait_are_not_shown_to_samplers() -> None:
    history = History(make_spec())
    history.run(12)
    expected = history.propose()
    history.trials.append(make_trial(12, state=TrialState.WAITING))
    history.trials.append(make_trial(13, state=TrialState.WAITING))
    claimed = propose(ProposalRequest(spec=history.spec, study_name="toy", number=12, trials=history.trials))
    assert claimed == expected


@pytest.mark.parametrize("options", [{}, {"multivariate": False}, {"n_startup_trials": 3}])
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_tpe_equals_stock_optuna(options: dict[str, Any], direction: Direction) -> None:
    metric = {"minimize": "validation_loss", "maximize": "accuracy"}[direction]
    history = History(make_spec(sampler={"name": "tpe", "options": options}, objective={"metric": metric}, seed=5))
    for number in range(25):
        proposal = history.propose()
        assert proposal is not None
        assert proposal.params == stock_params(history, direction)
        history.start(proposal)
        if number % 5 != 4:
            state = TrialState.PRUNED if number % 4 == 3 else TrialState.COMPLETE
            history.tell(number, toy_loss(proposal.params), state)


@pytest.mark.parametrize("name", ["cmaes", "nsga2", "nsga3", "qmc", "random"])
def test_the_other_samplers_equal_stock_optuna(name: str) -> None:
    options = {"population_size": 4} if name.startswith("nsga") else {}
    history = History(make_spec(sampler={"name": name, "options": options}, seed=2))
    for number in range(20):
        stock = stock_params(history, "minimize")
        proposal = history.propose()
        assert proposal is not None
        assert proposal.params == stock, number
        history.tell(history.start(proposal), toy_loss(proposal.params))


def test_the_random_sampler_draws_as_stock_optunas() -> None:
    history = History(make_spec(sampler={"name": "random"}, seed=11))
    for number in range(3):
        stock = optuna.create_study(sampler=RandomSampler(seed=trial_seed(11, number)))
        expected = stock.ask(to_optuna(history.spec.search_space)).params
        proposal = history.propose()
        assert proposal is not None
        assert proposal.params == expected
        history.start(proposal)


def test_a_random_proposal_looks_at_no_trial() -> None:
    spec = make_spec(sampler={"name": "random"})
    trials = Unseen([make_trial(0)])
    assert propose(ProposalRequest(spec=spec, study_name="toy", number=1, trials=trials)) is not None


def test_thousand_trials_are_handed_on_without_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(make_spec())
    history.trials = [
        make_trial(number, params=dict(trial.params), distributions=trial.distributions, value=number / 7)
        for number, trial in enumerate(_random_trials(1000))
    ]

    def no_copy(self: FrozenTrial, memo: object) -> None:
        raise AssertionError("a trial was copied")

    monkeypatch.setattr(FrozenTrial, "__deepcopy__", no_copy, raising=False)
    assert history.propose() is not None


def test_the_service_process_does_not_import_torch() -> None:
    program = (
        "import sys, service.search.propose.proposer, service.search.requirements; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def stock_params(history: History, direction: Direction) -> dict[str, Any]:
    """What `optuna.Study.ask` proposes for the same history, sampler options and seed."""
    number = len(history.trials)
    sampler = build_sampler(history.spec, number, history.trials)
    pruned = isinstance(sampler, optuna.samplers.TPESampler)
    tell_search_space(sampler, optuna.search_space.IntersectionSearchSpace(include_pruned=pruned))
    storage = optuna.storages.InMemoryStorage()
    study = optuna.create_study(study_name="stock", storage=storage, direction=direction, sampler=sampler)
    for trial in history.trials:
        study.add_trial(trial)
    for key, value in history.study_system_attrs.items():
        # NSGA keeps ids of trials, which here are the numbers
        ids = [trial_id - 1000 for trial_id in value] if isinstance(value, list) else value
        storage.set_study_system_attr(storage.get_study_id_from_name("stock"), key, ids)
    return study.ask(to_optuna(history.spec.search_space)).params


def _random_trials(count: int) -> list[FrozenTrial]:
    history = History(make_spec(sampler={"name": "random"}))
    first = history.propose()
    assert first is not None
    assert math.isfinite(toy_loss(first.params))
    return [make_trial(n, params=first.params, distributions=first.distributions) for n in range(count)]
