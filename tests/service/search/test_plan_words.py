"""The sentence about what a study will do."""

from typing import Any

import pytest

from service.search.plan_words import plan_words
from tests.service.search.builders import make_spec

NONE = {"name": "none"}
NO_PATIENCE = {"early_stopping_patience": None}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "20 trials: the baseline first, then what tpe proposes; a trial ends early after 3 evaluations"),
        (
            {"pruner": {"name": "median"}},
            "and once 5 are complete, where it is worse than the median of the others at the same evaluation",
        ),
        ({"enqueue": [{}, {}]}, "the baseline and 2 enqueued first, then what tpe proposes"),
        ({"baseline": False, "sampler": {"name": "random"}}, "20 trials: what random proposes"),
        ({"pruner": NONE, "training": NO_PATIENCE}, "proposes; none ends early"),
        ({"pruner": NONE}, "a trial ends early after 3 evaluations without a better value"),
        (
            {"pruner": {"name": "rungs"}},
            "each pauses at rungs, where the best one of 4 goes on, until 3 are complete and ends after 3 epochs",
        ),
        ({"pruner": {"name": "hyperband"}, "training": NO_PATIENCE}, "by the pruner hyperband, from evaluation 1 on"),
    ],
)
def test_the_sentence_says_what_decides_a_study(changes: dict[str, Any], said: str) -> None:
    assert said in plan_words(make_spec(**changes))
