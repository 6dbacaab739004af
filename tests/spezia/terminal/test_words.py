from spezia.terminal.words import duration_words, quote_words
from tests.service.replies import make_quote


def test_durations_are_as_long_as_they_need_to_be() -> None:
    words = {0.4: "0 s", 59.6: "1 min", 65: "1 min 5 s", 605: "10 min", 3_599: "59 min", 7_500: "2 h 5 min"}
    assert {seconds: duration_words(seconds) for seconds in words} == words


def test_a_quote_is_told_with_its_intervals() -> None:
    device, wall = "about 2 min 5 s (50 s to 3 min 20 s) of device time", "about 1 min 5 s (30 s to 2 min) in all"
    assert quote_words(make_quote()) == f"{device}, {wall} with 2 workers"


def test_a_quote_names_what_will_not_fit() -> None:
    unfit = {"method": "full", "frozen_layers": 0, "gradient_checkpointing": False}
    words = quote_words(make_quote(will_not_fit=[unfit], n_workers=1))
    assert words.endswith(
        "with 1 worker; what does not fit into memory: method=full frozen=0 gradient_checkpointing=False"
    )
