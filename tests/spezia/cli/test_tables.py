import io

from spezia.cli.tables import trials_table
from spezia.contract.warm_start import TakenFrom
from spezia.terminal.screen import Screen
from tests.service.replies import make_trial_reply


def test_a_trial_that_misses_a_constraint_says_so() -> None:
    missed = make_trial_reply(1, values={"accuracy": 0.4, "device_seconds": 3.0}, violations={"accuracy >= 0.5": 0.1})
    screen = io.StringIO()
    Screen(file=screen, width=120).print(trials_table([missed]))
    assert "0.4 3  misses accuracy >= 0.5" in screen.getvalue()


def test_a_trial_from_another_study_says_so() -> None:
    taken = make_trial_reply(1, taken_from=TakenFrom(study="older", number=3))
    screen = io.StringIO()
    Screen(file=screen, width=120).print(trials_table([taken]))
    assert "COMPLETE (as trial 3 of older)" in screen.getvalue()
