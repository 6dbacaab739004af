import io

import pytest
from rich.console import Console

from service.client import SpeziaClient
from service.contract.study import Best, Study, TrialCounts
from service.contract.trial import Evaluation, TrialDetail, TrialList
from service.progress import watch
from tests.service.replies import NOW, ScriptedService, make_study, make_trial_reply
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
    client = SpeziaClient("http://spezia.test", transport=service.transport(), sleep=lambda seconds: None)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=is_terminal, width=120)
    assert watch(client, "toy", console).state == "complete"
    shown = screen.getvalue()
    assert ("trial    0  rate=2e-05 batch=16  no evaluation yet" in shown) is is_terminal
    assert ("trial    1  rate=2e-05 batch=16  epoch 2  step 2  0.4322" in shown) is is_terminal
    study_line = "toy: 2/6 trials, best 0.25 (trial 1), about 2 min left"
    assert (study_line in shown) is is_terminal
    assert is_terminal or shown == ""
