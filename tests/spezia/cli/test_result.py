import io

from spezia.cli.result import show_result
from spezia.contract.advice import Advice, Change
from spezia.contract.best_trial import BestTrial, ParetoFront
from spezia.contract.confirm import Confirmation
from spezia.contract.saved import SavedSeconds
from spezia.contract.warm_start import TakenFrom
from spezia.terminal.screen import Screen
from tests.service.replies import make_best, make_front, make_study


def test_a_front_is_a_table_of_what_its_trials_trade() -> None:
    screen = io.StringIO()
    show_result(make_front(), make_study(warnings=["of the study"]), Screen(file=screen, width=120))
    lines = screen.getvalue().splitlines()
    assert "toy: 2 of 20 (5 pruned) are on the Pareto front" in lines
    assert [line.split()[:3] for line in lines[2:6]] == [
        ["trial", "accuracy", "device_seconds"],
        ["7", "0.9", "30.5"],
        ["3", "0.8", "10.25"],
        ["baseline", "0.7", "12.5"],
    ]
    assert lines[6] == "device time: 50 s"
    assert lines[7] == "model of trial 7: /models/toy"
    assert lines[8:] == ["note: of the study", "note: a warning"]  # what is of one trial alone is in the API


def test_what_was_saved_is_told_where_it_was_measured_and_something() -> None:
    saved = SavedSeconds(pruning=125.0, early_stopping=None, trunk_cache=-2.0)
    screen = io.StringIO()
    show_result(make_best(), make_study(saved_seconds=saved), Screen(file=screen, width=120))
    assert "device time: 50 s; saved: about 2 min 5 s by pruning" in screen.getvalue().splitlines()


def test_a_model_is_told_by_its_folder_or_by_the_command_that_fetches_it() -> None:
    for directory, told in (("/models/toy", "model: /models/toy"), (None, "model: spezia pull toy")):
        screen = io.StringIO()
        best = make_best().model_copy(update={"model_directory": directory})
        show_result(best, make_study(), Screen(file=screen, width=120))
        assert told in screen.getvalue().splitlines()


def test_what_fresh_seeds_have_found_is_told() -> None:
    found = Confirmation(state="complete", sentence="no significant gain: keep the defaults")
    best = make_best().model_copy(update={"confirmation": found})
    screen = io.StringIO()
    show_result(best, make_study(), Screen(file=screen, width=120))
    assert "confirmation: no significant gain: keep the defaults" in screen.getvalue().splitlines()


def test_a_winner_from_another_study_says_so() -> None:
    best = make_best().model_copy(update={"taken_from": TakenFrom(study="older", number=3)})
    screen = io.StringIO()
    show_result(best, make_study(), Screen(file=screen, width=120))
    assert "its params are those of trial 3 of older" in screen.getvalue().splitlines()


def test_three_pieces_of_advice_are_shown_and_where_the_others_are() -> None:
    changes = [Change(field="n_trials", value=40)]
    advice = [Advice(sentence=f"finding {number}; do it", changes=changes) for number in range(5)]
    best = make_best().model_copy(update={"warnings": ["a fact", *(one.sentence for one in advice)], "advice": advice})
    assert notes_of(best) == [
        "note: a fact",
        "advice: finding 0; do it",
        "advice: finding 1; do it",
        "advice: finding 2; do it",
        "2 more pieces of advice: spezia best toy --verbose",
    ]
    assert notes_of(best.model_copy(update={"advice": advice[:3], "warnings": ["a fact"]}))[3:] == [
        "advice: finding 2; do it"
    ]


def test_of_a_front_only_the_advice_of_all_its_trials_is_shown() -> None:
    both, own = (Advice(sentence=sentence, changes=[]) for sentence in ("of both", "of one"))
    first, second = make_front().pareto
    first = first.model_copy(update={"warnings": ["of both", "of one"], "advice": [both, own]})
    second = second.model_copy(update={"warnings": ["of both"], "advice": [both]})
    assert notes_of(ParetoFront(study="toy", pareto=[first, second])) == ["advice: of both"]


def notes_of(best: BestTrial | ParetoFront) -> list[str]:
    screen = io.StringIO()
    show_result(best, make_study(), Screen(file=screen, width=120))
    lines = screen.getvalue().splitlines()
    return [line for line in lines if line.startswith(("note", "advice", "2 more"))]
