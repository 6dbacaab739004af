import io

from rich.console import Console

from spezia.cli.result import show_result
from tests.service.replies import make_front, make_study


def test_a_front_is_a_table_of_what_its_trials_trade() -> None:
    screen = io.StringIO()
    show_result(make_front(), make_study(warnings=["of the study"]), Console(file=screen, width=120))
    lines = screen.getvalue().splitlines()
    assert "toy: 2 of 20 (5 pruned) are on the Pareto front" in lines
    assert [line.split()[:3] for line in lines[2:6]] == [
        ["trial", "accuracy", "device_seconds"],
        ["7", "0.9", "30.5"],
        ["3", "0.8", "10.25"],
        ["baseline", "0.7", "12.5"],
    ]
    assert lines[6] == "model of trial 7: /models/toy"
    assert lines[7:] == ["note: of the study", "note: a warning"]  # what is of one trial alone is in the API
