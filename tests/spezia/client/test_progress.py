import io
from typing import Any

import pytest

from spezia.client import Client
from spezia.client.progress import watch
from spezia.contract.start_small import SmallRun, SmallRuns
from spezia.contract.study import Best, Study, TrialCounts
from spezia.contract.trial import Evaluation, TrialDetail, TrialList
from spezia.terminal.screen import Screen
from spezia.terminal.words import quote_words
from tests.service.replies import NOW, ScriptedService, make_quote, make_study, make_trial_reply
from tests.service.search.builders import make_facts, make_spec


def running_trial(number: int) -> TrialDetail:
    evaluation = Evaluation(
        step=2,
        epoch=2.0,
        optimizer_steps=20,
        value=0.4321987,
        metrics={},
        should_prune=False,
        reason=None,
        reported_at=NOW,
    )
    return make_trial_reply(number, state="RUNNING", value=None, intermediate_values=[evaluation] if number else [])


def running_study() -> Study:
    return make_study(
        spec=make_spec(name="toy", n_trials=6),
        state="running",
        facts=make_facts(),
        trials=TrialCounts(running=2, complete=2),
        n_finished=2,
        best=Best(number=1, value=0.25),
    )


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_terminal_shows_the_running_trials_in_place(is_terminal: bool) -> None:
    polls = iter([running_study(), make_study()])
    answers = {f"GET /v1/studies/toy/trials/{number}": running_trial(number) for number in (0, 1)}
    service = ScriptedService(
        {
            **answers,
            "GET /v1/studies/toy": lambda request: next(polls),
            "GET /v1/studies/toy/trials": TrialList(trials=list(answers.values()), next_page_token=None),
        }
    )
    client = Client("http://spezia.test", transport=service.transport(), sleep=lambda seconds: None)
    screen = io.StringIO()
    console = Screen(file=screen, force_terminal=is_terminal, width=120)
    assert watch(client, "toy", console).state == "complete"
    shown = screen.getvalue()
    assert ("trial    0  -          no evaluation yet  rate=2e-05 batch=16" in shown) is is_terminal
    assert ("trial    1  0.4322     epoch 2, step 2  rate=2e-05 batch=16" in shown) is is_terminal
    study_line = "toy: 2/6 trials, best 0.25 (trial 1), about 2 min left"
    assert (study_line in shown) is is_terminal
    assert is_terminal or shown == ""


def small_study(n_ended: int, **changes: Any) -> Study:
    runs = [
        SmallRun(number=0, value=0.71, failure=None, full_value=None),
        SmallRun(number=1, value=None, failure="diverged: the training loss is nan", full_value=None),
    ]
    small = SmallRuns(fraction=0.1, runs=runs[:n_ended], n_compared=0, rank_correlation=None, meaning="")
    spec = make_spec(name="toy", n_trials=6, start_small={"trials": 2})
    fields = {
        "spec": spec,
        "state": "running",
        "facts": make_facts(),
        "trials": TrialCounts(waiting=2),
        "n_finished": 0,
    }
    return make_study(**(fields | {"start_small": small} | changes))


def watched(*polls: Study, is_terminal: bool = False) -> str:
    """What is shown while a service answers so."""
    answers = iter(polls)
    waiting = [make_trial_reply(number, state="WAITING", value=None) for number in (0, 1)]
    service = ScriptedService(
        {
            "GET /v1/studies/toy": lambda request: next(answers),
            "GET /v1/studies/toy/trials": TrialList(trials=list(waiting), next_page_token=None),
            **{f"GET /v1/studies/toy/trials/{trial.number}": trial for trial in waiting},
        }
    )
    client = Client("http://spezia.test", transport=service.transport(), sleep=lambda seconds: None)
    screen = io.StringIO()
    watch(client, "toy", Screen(file=screen, force_terminal=is_terminal, width=120))
    return screen.getvalue()


def test_small_runs_are_shown_as_they_end() -> None:
    polls = small_study(0), small_study(1), small_study(2), make_study()
    assert watched(*polls) == (
        "small    0  0.71       10% of the data  rate=2e-05 batch=16\n"
        "small    1  failed     10% of the data: diverged: the training loss is nan  rate=2e-05 batch=16\n"
    )
    assert watched(polls[2], polls[3]) == ""  # ended before
    screen = watched(*polls, is_terminal=True)
    assert "toy: 1/2 small runs, 0/6 trials" in screen
    assert "2/2 small runs" not in screen


def test_runs_under_fresh_seeds_are_counted_after_the_trials() -> None:
    confirming = small_study(0, start_small=None, n_confirm_runs=3, n_finished=6)
    assert "toy: 6/6 trials, 3 runs under fresh seeds" in watched(confirming, make_study(), is_terminal=True)


def test_a_warning_is_shown_once_when_it_appears() -> None:
    first, second = "the data has 3 empty texts", "small run of trial 1 diverged"
    polls = [small_study(0, warnings=warnings) for warnings in ([], [first], [first], [first, second])]
    assert watched(*polls, make_study(warnings=[first, second, "at the end"])) == f"note: {first}\nnote: {second}\n"


def test_a_quote_is_printed_once_and_not_again_in_the_middle_of_a_study() -> None:
    begun = running_study().model_copy(
        update={"quote": make_quote(), "trials": TrialCounts(running=2), "n_finished": 0}
    )
    quoted = f"quote: {quote_words(make_quote())}\n"
    assert printed_of(begun, begun, make_study(quote=make_quote())).count(quoted) == 1
    late = running_study().model_copy(update={"quote": make_quote()})
    assert printed_of(running_study(), late, make_study(quote=make_quote())).count(quoted) == 1
    resumed = running_study().model_copy(update={"quote": make_quote()})
    assert "quote" not in printed_of(resumed, make_study())


def printed_of(*studies: Study) -> str:
    """What is printed of a study that is, from one look to the next, as ``studies`` say."""
    polls = iter(studies)
    service = ScriptedService(
        {
            "GET /v1/studies/toy": lambda request: next(polls),
            "GET /v1/studies/toy/trials": TrialList(trials=[], next_page_token=None),
        }
    )
    client = Client("http://spezia.test", transport=service.transport(), sleep=lambda seconds: None)
    screen = io.StringIO()
    watch(client, "toy", Screen(file=screen, width=200))
    return screen.getvalue()
