"""The sentence about what a study will do."""

from typing import Any

import pytest

from service.search.plan_words import plan_words
from tests.service.search.builders import GRID, SPACE, make_spec

NONE = {"name": "none"}
NO_PATIENCE = {"early_stopping_patience": None}


RATE = {"learning_rate": SPACE["learning_rate"]}
"""Trials of three epochs, an evaluation after each."""
RUNGS = {"name": "rungs"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "20 trials: the baseline first, then what tpe proposes; a trial ends early after 3 evaluations"),
        (
            {"pruner": {"name": "median"}},
            "and once 5 are complete, where it is worse than the median of the others at the same evaluation",
        ),
        ({"enqueue": [{}, {}]}, "2 enqueued first, the baseline behind the first of them, then what tpe proposes"),
        ({"baseline": False, "sampler": {"name": "random"}}, "20 trials: what random proposes"),
        ({"pruner": NONE, "training": NO_PATIENCE}, "proposes; none ends early"),
        ({"pruner": NONE}, "a trial ends early after 3 evaluations without a better value"),
        (
            {"pruner": RUNGS, "training": {"evaluations_per_epoch": 9}},
            "goes on, until 3 are complete; a trial ends early after 3 epochs without a better value",
        ),
        ({"pruner": RUNGS, "n_trials": 4}, "where the best one of 4 goes on, until all are complete"),
        (
            {"pruner": {"name": "percentile", "options": {"percentile": 25, "n_warmup_steps": 1}}},
            "where it is not among the best 25 % of the others at the same evaluation, from evaluation 2 on",
        ),
        (
            {"warm_start": "auto"},
            "up to 4 of the best of finished studies like it first, the baseline behind the first of them, then what",
        ),
        (
            {"pruner": RUNGS, "warm_start": "auto", "baseline": False},
            "64 trials: up to 4 of the best of finished studies like it first, then what tpe proposes; each but the",
        ),
        (
            {"confirm": {"top": 2}, "start_small": {}, "target_value": 0.1},
            "the params of 4 trials are tried on 10 % of the training rows first; 20 trials",
        ),
        ({"confirm": {"top": 2}}, "; in the end the best 2 and the baseline run again under 3 fresh seeds"),
        ({"confirm": {"top": 1}}, "; in the end the best and the baseline run again under 3 fresh seeds"),
        ({"confirm": {}, "n_trials": 1}, "; in the end the baseline runs again under 3 fresh seeds"),
        ({"timeout_seconds": 1e6}, "; the study ends after 1,000,000 seconds, if that comes first"),
        (
            {"target_value": 0.1, "timeout_seconds": 60},
            "; the study ends when a trial reaches 0.1, or after 60 seconds, if that comes first",
        ),
        ({"pruner": {"name": "hyperband"}, "training": NO_PATIENCE}, "by the pruner hyperband, from evaluation 1 on"),
    ],
)
def test_the_sentence_says_what_decides_a_study(changes: dict[str, Any], said: str) -> None:
    assert said in plan_words(make_spec(**changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"n_trials": 1}, "1 trial: the baseline; none ends early", id="the baseline alone"),
        pytest.param(
            {"n_trials": 1, "pruner": {"name": "successive-halving"}},
            "1 trial: the baseline; none ends early",
            id="none to compare with",
        ),
        pytest.param(
            {"n_trials": 1, "pruner": {"name": "threshold", "options": {"upper": 1}}},
            "1 trial: the baseline; none ends early",
            id="no pruner ends the baseline",
        ),
        pytest.param(
            {"pruner": {"name": "percentile", "options": {"percentile": 100}}},
            "20 trials: the baseline first, then what tpe proposes; none ends early",
            id="all are among the best",
        ),
        pytest.param(
            {"n_trials": 2, "enqueue": [{}]}, "2 trials: 1 enqueued and the baseline; none ends early", id="enqueued"
        ),
        pytest.param(
            {"search_space": {"batch_size": GRID["batch_size"]}, "sampler": {"name": "grid"}, "n_trials": 50},
            "2 trials: the baseline first, then what a grid proposes; none ends early",
            id="a grid of two points",
        ),
        pytest.param(
            {"pruner": NONE},
            "20 trials: the baseline first, then what tpe proposes; none ends early",
            id="3 evaluations, a patience of 3",
        ),
        pytest.param(
            {"pruner": {"name": "median"}, "n_trials": 5},
            "5 trials: the baseline first, then what tpe proposes; none ends early",
            id="none left to prune",
        ),
        pytest.param(
            {"pruner": {"name": "threshold", "options": {"upper": 1, "n_warmup_steps": 2}}},
            "20 trials: the baseline first, then what tpe proposes; none ends early",
            id="prunes behind the last evaluation",
        ),
        pytest.param(
            {"pruner": RUNGS | {"options": {"first": 3}}, "n_trials": 9},
            "9 trials: the baseline first, then what tpe proposes; none ends early",
            id="a rung behind the last evaluation",
        ),
        pytest.param(
            {"pruner": RUNGS, "n_trials": 1},
            "1 trial: the baseline; none ends early",
            id="none but the baseline, which passes rungs",
        ),
        pytest.param(
            {"pruner": RUNGS, "n_trials": 9, "baseline": False},
            "9 trials: what tpe proposes; each pauses at rungs, where the best one of 4 goes on, until 3 are complete",
            id="patience in epochs",
        ),
    ],
)
def test_nothing_is_said_that_cannot_happen(changes: dict[str, Any], said: str) -> None:
    assert plan_words(make_spec(**{"search_space": RATE} | changes)) == said
