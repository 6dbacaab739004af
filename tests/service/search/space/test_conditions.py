"""Search spaces in which some parameters depend on others."""

import json
import math
from typing import Any

import optuna
import pytest
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from service.search.baseline import baseline
from service.search.propose.samplers import build_sampler
from service.search.pruning.pruners import longest_schedule
from service.search.space.params import plain_params, to_keys, trial_params
from spezia.contract.ranges import value_problem
from spezia.contract.space import active_dimension, dimensions
from spezia.contract.study_spec import Params
from tests.service.search.builders import History, make_facts, make_spec, params_of


def rate(low: float, high: float, method: str | list[str]) -> dict[str, Any]:
    return {"type": "float", "low": low, "high": high, "log": True, "when": {"method": method}}


SPACE: dict[str, Any] = {
    # before what it depends on
    "lora_dropout": {"type": "float", "low": 0.0, "high": 0.2, "when": {"lora_targets": "all-linear"}},
    "lora_targets": {"type": "categorical", "choices": ["all-linear", "attention"], "when": {"method": "lora"}},
    "weight_decay": {"type": "float", "low": 0.0, "high": 0.3},
    "learning_rate": [rate(5e-6, 1e-4, "full"), rate(5e-5, 1e-3, "lora"), rate(1e-4, 5e-3, "head_only")],
    "lora_rank": {"type": "categorical", "choices": [8, 16, 32], "when": {"method": "lora"}},
    "frozen_layers": {"type": "int", "low": 0, "high": 6, "when": {"method": ["full", "lora"]}},
    "method": {"type": "categorical", "choices": ["full", "lora", "head_only"]},
}
COMMON = {"weight_decay", "method"}
EXPECTED = {
    "full": COMMON | {"learning_rate[method=full]", "frozen_layers"},
    "head_only": COMMON | {"learning_rate[method=head_only]"},
    "lora": COMMON | {"learning_rate[method=lora]", "lora_rank", "lora_targets", "frozen_layers"},
}
SAMPLERS: list[dict[str, Any]] = [
    {"name": "tpe"},
    {"name": "tpe", "options": {"n_startup_trials": 2, "constant_liar": False}},
    {"name": "random"},
    {"name": "multi-fidelity"},
    {"name": "qmc"},
    {"name": "nsga2", "options": {"population_size": 5}},
    {"name": "nsga3", "options": {"population_size": 5}},
]
by_name = pytest.mark.parametrize("sampler", SAMPLERS, ids=json.dumps)


def loss(params: Params) -> float:
    """Best, 0, for LoRA at a rate of 3e-4; full fine-tuning is at best 1."""
    plain = plain_params(params)
    wanted = {"full": 3e-5, "lora": 3e-4, "head_only": 1e-3}[str(plain["method"])]
    return (math.log10(float(plain["learning_rate"]) / wanted)) ** 2 + (plain["method"] != "lora")


def make_history(**fields: Any) -> History:
    return History(make_spec(search_space=SPACE, **fields))


@by_name
def test_a_trial_has_exactly_its_active_params_each_in_its_own_range(sampler: dict[str, Any]) -> None:
    history = make_history(sampler=sampler, seed=3)
    history.run(30, loss)
    for trial in history.trials:
        expected = EXPECTED[trial.params["method"]]
        if trial.params.get("lora_targets") == "all-linear":
            expected = expected | {"lora_dropout"}
        assert trial.params.keys() == trial.distributions.keys() == expected
        plain = plain_params(trial.params)
        for name, value in plain.items():
            dimension = active_dimension(history.spec.search_space, name, plain)
            assert dimension is not None
            assert value_problem(dimension.distribution, value) is None
    assert {trial.params["method"] for trial in history.trials} == set(EXPECTED)


@by_name
def test_the_same_history_gives_the_same_proposal(sampler: dict[str, Any]) -> None:
    first, again = (make_history(sampler=sampler, seed=1) for _ in range(2))
    first.run(20, loss)
    again.run(20, loss)
    assert params_of(first.trials) == params_of(again.trials)


def test_tpe_finds_the_best_branch() -> None:
    history = make_history(seed=2)
    history.run(60, loss)
    late = history.trials[30:]
    assert sum(trial.params["method"] == "lora" for trial in late) > 15
    assert min(loss(trial.params) for trial in late) < 0.02


class ShownTpe(TPESampler):
    """Remembers what it was made with."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.options = options


@pytest.mark.parametrize(("space", "is_grouped"), [(SPACE, True), ({"weight_decay": SPACE["weight_decay"]}, False)])
def test_tpe_models_groups_of_params_where_some_have_conditions(
    space: dict[str, Any], is_grouped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.search.propose.samplers.TPESampler", ShownTpe)
    sampler = build_sampler(make_spec(search_space=space), 0, [])
    assert isinstance(sampler, ShownTpe)
    assert sampler.options["group"] is is_grouped


def test_stock_optuna_reads_the_trials() -> None:
    history = make_history(sampler={"name": "random"})
    history.run(12, loss)
    study = optuna.create_study()
    study.add_trials(history.trials)
    assert study.best_params == min(history.trials, key=lambda trial: loss(trial.params)).params
    assert "learning_rate[method=lora]" in {name for trial in study.trials for name in trial.distributions}
    assert study.ask().number == 12


def test_dimensions_come_behind_those_that_they_hang_on() -> None:
    names = [dimension.name for dimension in dimensions(make_spec(search_space=SPACE).search_space)]
    assert names.index("method") < names.index("lora_targets") < names.index("lora_dropout")


def test_the_baseline_has_the_defaults_of_its_method() -> None:
    facts = make_facts()
    start = baseline(make_spec(search_space=SPACE), facts)
    assert start.params == {"weight_decay": 0.01, "method": "full", "learning_rate": 2e-5, "frozen_layers": 0}
    space = SPACE | {"method": {"type": "categorical", "choices": ["lora"]}}
    space["learning_rate"] = rate(5e-5, 1e-3, "lora")
    space["frozen_layers"] = {"type": "int", "low": 0, "high": 6}
    start = baseline(make_spec(search_space=space), facts)
    assert (start.params["learning_rate"], start.params["lora_rank"]) == (2e-4, 16)


@pytest.mark.parametrize(("method", "expected"), [("lora", 2e-4), ("head_only", 1e-3), ("full", 2e-5)])
def test_a_fixed_method_decides_the_default_rate(method: str, expected: float) -> None:
    space = {"learning_rate": {"type": "float", "low": 1e-6, "high": 1e-2, "log": True}}
    spec = make_spec(search_space=space, fixed={"method": method})
    assert baseline(spec, make_facts()).params == {"learning_rate": expected}


def test_given_params_keep_their_branch_and_the_rest_is_drawn() -> None:
    history = make_history(seed=5)
    proposal = history.propose({"method": "lora", "learning_rate": 1e-4})
    assert proposal is not None
    assert proposal.params.keys() - {"lora_dropout"} == EXPECTED["lora"]
    assert proposal.params["learning_rate[method=lora]"] == 1e-4
    assert to_keys(history.spec, {"method": "full", "learning_rate": 1e-4}) == {
        "method": "full",
        "learning_rate[method=full]": 1e-4,
    }


def test_a_fixed_param_reaches_only_the_trials_whose_method_has_it() -> None:
    space = {"method": SPACE["method"], "weight_decay": SPACE["weight_decay"]}
    spec = make_spec(search_space=space, fixed={"lora_rank": 8, "epochs": 2})
    assert trial_params(spec, {"method": "lora"}) == {"method": "lora", "lora_rank": 8, "epochs": 2}
    assert trial_params(spec, {"method": "full"}) == {"method": "full", "epochs": 2}


def test_a_script_may_use_our_names_for_its_own_things() -> None:
    spec = make_spec(
        task="script",
        model=None,
        data=None,
        script="train.py",
        baseline=False,
        objective={"metric": "score", "direction": "maximize"},
        search_space={"method": {"type": "categorical", "choices": ["a", "b"]}},
        fixed={"lora_rank": "many"},
    )
    assert trial_params(spec, {"method": "a"}) == {"method": "a", "lora_rank": "many"}


def test_the_longest_schedule_is_that_of_any_branch_or_the_default() -> None:
    def epochs(high: int, method: str) -> dict[str, Any]:
        return {"type": "int", "low": 1, "high": high, "when": {"method": method}}

    method = {"method": {"type": "categorical", "choices": ["full", "lora"]}}
    assert longest_schedule(make_spec(search_space=method | {"epochs": [epochs(5, "full"), epochs(9, "lora")]})) == 9
    assert longest_schedule(make_spec(search_space=method | {"epochs": epochs(2, "lora")})) == 3


def test_waiting_trials_do_not_disturb_the_next_proposal() -> None:
    history = make_history(seed=1)
    proposal = history.propose({"method": "full"})
    assert proposal is not None
    history.tell(history.start(proposal), None, TrialState.RUNNING)
    assert history.propose() is not None
