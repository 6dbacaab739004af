"""How far the trials of a study get under rungs, beside what the rules make of a study of random values."""

from collections import Counter
from random import Random
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from service.rung_marks import PAUSED, PROMOTED, REACHED
from service.search.pruning.rungs import RungCounts, promotions, rung_steps
from service.search.quote.rungs_passed import rungs_passed
from spezia.contract.pruners import RungsOptions
from spezia.contract.study_spec import StudySpec
from tests.service.search.builders import SPACE, make_spec, make_trial

SINCE = "2026-11-22T12:00:00.000000+00:00"
EPOCHS = 20


def spec_of(options: RungsOptions) -> StudySpec:
    space = {"learning_rate": SPACE["learning_rate"]}
    pruner = {"name": "rungs", "options": options.model_dump()}
    return make_spec(search_space=space, fixed={"epochs": EPOCHS}, pruner=pruner)


def at_rung(number: int, values: list[float], *, state: TrialState) -> FrozenTrial:
    attrs = {REACHED: {str(rung): [value, SINCE] for rung, value in enumerate(values)}, PROMOTED: len(values)}
    if state is TrialState.COMPLETE:
        return make_trial(number, state=state, system_attrs=attrs)
    rung = len(values) - 1
    mark = {PAUSED: {"rung": rung, "step": 4**rung, "attempt": 1, "since": SINCE}}
    return make_trial(number, state=state, system_attrs=attrs | {PROMOTED: rung}, user_attrs=mark)


def carried_out(spec: StudySpec, n_trials: int, chance: Random) -> list[int | None]:
    """Rungs that each trial passes of a study whose only worker pauses all and resumes those that are due."""
    n_rungs = len(rung_steps(spec, {"epochs": EPOCHS}))
    values: list[list[float]] = []
    done: set[int] = set()

    def trials(*, ended: bool) -> list[FrozenTrial]:
        state = TrialState.COMPLETE if ended else TrialState.WAITING
        return [at_rung(one, own, state=state) for one, own in enumerate(values) if (one in done) is ended]

    while True:
        has_begun = len(values) == n_trials
        due = promotions(spec, RungCounts().extended(trials(ended=True)), trials(ended=False), all_arrived=has_begun)
        if due and len(values[due[0].number]) == n_rungs:
            done.add(due[0].number)
        elif due:
            values[due[0].number].append(chance.random())
        elif has_begun:
            return [None if number in done else len(own) - 1 for number, own in enumerate(values)]
        else:
            values.append([chance.random()])


@pytest.mark.parametrize("n_trials", [1, 5, 23, 64])
@pytest.mark.parametrize("options", [{"eta": 4, "top": 3}, {"eta": 2, "top": 1}, {"eta": 3, "top": 9}])
def test_as_many_get_as_far_as_the_rules_let_go_on(options: dict[str, Any], n_trials: int) -> None:
    asked = RungsOptions(first=1, validation_share=1, **options)
    spec = spec_of(asked)
    found = rungs_passed(spec, asked, [EPOCHS] * n_trials, never_pause=(), top=asked.top)
    expected = carried_out(spec, n_trials, Random(n_trials))
    assert Counter(found)[None] == Counter(expected)[None]
    steps = [*rung_steps(spec, {"epochs": EPOCHS}), EPOCHS]

    def total(passed: list[int | None]) -> int:
        return sum(steps[-1 if one is None else one] for one in passed)

    assert total(found) == pytest.approx(total(expected), rel=0.05)


def test_some_never_pause_and_each_number_of_epochs_has_rungs_of_its_own() -> None:
    asked = RungsOptions(first=2, validation_share=1, eta=2, top=1)
    spec = spec_of(asked)
    epochs = [8, *[1] * 3, *[3] * 4, *[8] * 4]
    found = rungs_passed(spec, asked, epochs, never_pause={0}, top=1)
    assert found[:4] == [None] * 4  # the first never pauses, and the next three have no rung
    assert sorted(map(str, found[4:8])) == ["0", "0", "None", "None"]
    assert sorted(map(str, found[8:])) == ["0", "0", "1", "None"]
