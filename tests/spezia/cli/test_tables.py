import io

import pytest

from spezia.cli.tables import studies_table, trials_table
from spezia.contract.warm_start import TakenFrom
from spezia.terminal.screen import Screen
from tests.service.replies import make_study, make_trial_reply


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


def test_a_name_is_folded_where_it_does_not_fit_and_rows_stay_whole_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = make_study(name="a-" * 31)
    narrow = io.StringIO()
    Screen(file=narrow, width=60).print(studies_table([study]))
    assert "…" not in "".join(line.split()[0] for line in narrow.getvalue().splitlines())
    monkeypatch.delenv("COLUMNS", raising=False)
    piped = io.StringIO()
    Screen(file=piped).print(studies_table([study]))
    assert len(piped.getvalue().splitlines()) == 2
    assert "a-" * 31 in piped.getvalue()
