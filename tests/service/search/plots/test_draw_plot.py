"""Plots of a study: figures that hold no markup of users, no NaN, and not too many trials."""

import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, get_args

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from service.search.plots.choose_trials import choose_trials
from service.search.plots.draw_plot import NoPlot, draw_plot
from service.search.plots.plain import plain, plain_trials
from spezia.contract.plot import MAX_DRAWN, MAX_LINES, PlotKind
from spezia.contract.study_spec import StudySpec

KINDS: tuple[PlotKind, ...] = get_args(PlotKind)
BAD = "<a href='javascript:alert(1)'>%{x} &lt;b&gt;"
FROM_OPTUNA = re.compile(r"</?(?:br|extra|b)>|%\{[a-z]+(?:\[[01]\])?\}")
DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(0.0, 1.0),
    "word": CategoricalDistribution([BAD, "good"]),
}


def script(*metrics: str, **changes: Any) -> StudySpec:
    space = {
        "rate": {"type": "float", "low": 0.0, "high": 1.0},
        "word": {"type": "categorical", "choices": [BAD, "good"]},
    }
    objectives = [{"metric": metric, "direction": "minimize"} for metric in metrics]
    objective = objectives if len(metrics) > 1 else objectives[0]
    body = {"task": "script", "script": "a.py", "objective": objective, "search_space": space}
    return StudySpec.model_validate(body | changes)


def trial(number: int, *values: float, state: TrialState = TrialState.COMPLETE, **params: Any) -> FrozenTrial:
    chosen = params or {"rate": number % 7 / 7, "word": (BAD, "good")[number % 2]}
    begun = datetime.fromisoformat("2026-01-01") + timedelta(seconds=number)
    made = create_trial(
        state=state,
        values=list(values) or None,
        params=chosen,
        distributions={name: DISTRIBUTIONS[name] for name in chosen},
        user_attrs={"spezia:failure": {"message": BAD}},
    )
    made.number = number
    made.datetime_start = begun
    made.datetime_complete = begun + timedelta(seconds=9) if state.is_finished() else None
    return made


def texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        yield from (text for one in node.values() for text in texts(one))
    elif isinstance(node, list):
        yield from (text for one in node for text in texts(one))


def parsed(figure: bytes) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    found: dict[str, Any] = json.loads(figure, parse_constant=refuse)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_users_have_named_is_text_and_no_number_is_none(kind: PlotKind) -> None:
    metrics = (BAD, "other") if kind == "pareto-front" else (BAD,)
    trials = [trial(number, *([number * 0.1] * len(metrics))) for number in range(9)]
    trials += [trial(9, *([float("inf")] * len(metrics))), trial(10, state=TrialState.FAIL)]
    trials += [trial(11, state=TrialState.RUNNING), trial(12, state=TrialState.WAITING)]
    figure = parsed(draw_plot(script(*metrics), trials, kind, 0))
    shown = list(texts(figure))
    left = [FROM_OPTUNA.sub("", text) for text in shown]
    assert [text for text in left if "<" in text or "%{" in text] == []
    assert any(plain(BAD)[:10] in text for text in shown)
    assert "spezia:failure" not in str(figure)
    assert figure["data"]
    assert set(figure["layout"]["template"]["data"]) <= {"scatter"}


def test_text_is_shown_as_it_was_written() -> None:
    assert plain("a<b>&lt;%{x}") == "a&lt;b&gt;&amp;lt;%&#123;x}"
    (shown,) = plain_trials([trial(0, 0.5, word=BAD)])
    assert shown.params == {"word": plain(BAD)}
    assert shown.distributions["word"].choices == (plain(BAD), "good")


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_without_trials_has_no_plot(kind: PlotKind) -> None:
    with pytest.raises(NoPlot, match="no trial"):
        draw_plot(script("loss", "cost"), [trial(0, state=TrialState.WAITING)], kind, 0)


def test_a_pareto_front_needs_two_or_three_objectives() -> None:
    with pytest.raises(NoPlot, match="this study has 1"):
        draw_plot(script("loss"), [trial(0, 0.5)], "pareto-front", 0)
    with pytest.raises(NoPlot, match="this study has 4"):
        draw_plot(script("a", "b", "c", "d"), [trial(0, 0.5, 0.5, 0.5, 0.5)], "pareto-front", 0)


def test_lines_are_of_the_params_that_all_trials_have() -> None:
    trials = [trial(0, 0.5), trial(1, 0.4), trial(2, 0.3, rate=0.5)]
    figure = parsed(draw_plot(script("loss"), trials, "parallel-coordinates", 0))
    assert figure["layout"]["xaxis"]["ticktext"] == ["loss", "rate"]
    assert len([line for line in figure["data"] if line["mode"] == "lines"]) == 3
    with pytest.raises(NoPlot, match="nothing in common"):
        draw_plot(script("loss"), [trial(0, 0.5, rate=0.5), trial(1, 0.5, word="good")], "parallel-coordinates", 0)


def test_each_objective_is_drawn_by_itself() -> None:
    trials = [trial(number, 0.1, 5.0 + number) for number in range(3)]
    figure = parsed(draw_plot(script("loss", "cost"), trials, "history", 1))
    assert figure["layout"]["yaxis"]["title"]["text"] == "cost"
    assert figure["data"][0]["y"] == [5.0, 6.0, 7.0]


def test_a_history_passes_over_trials_that_are_not_complete() -> None:
    ends = [TrialState.FAIL, TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE, TrialState.WAITING]
    trials = [
        trial(number, *([5.0 - number] if state is TrialState.COMPLETE else []), state=state)
        for number, state in enumerate(ends)
    ]
    points, *_ = parsed(draw_plot(script("loss"), trials, "history", 0))["data"]
    assert (points["x"], points["y"]) == ([1, 3], [4.0, 2.0])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "history"])
def test_of_many_trials_those_that_matter_are_drawn(kind: PlotKind) -> None:
    spec = script("loss", "cost")
    # the best come last, and the Pareto front is of two trials
    values = [1.0 + (number * 7919 % 3000) / 3000 for number in range(3000)]
    values[10], values[2999] = 0.5, 0.1
    trials = [trial(number, value, -value) for number, value in enumerate(values)]
    numbers = [one.number for one in choose_trials(spec, trials, kind)]
    at_most = MAX_LINES if kind == "parallel-coordinates" else MAX_DRAWN
    assert len(numbers) == at_most
    assert numbers == sorted(numbers)
    assert 2999 in numbers
    if kind == "timeline":
        assert numbers[0] == 1000
    elif kind != "importances":
        assert {10, 2999} <= set(numbers)
        assert len([number for number in numbers if number < 1500]) > 0.3 * at_most


def test_a_title_says_that_not_all_trials_are_drawn() -> None:
    trials = [trial(number, number * 0.1) for number in range(MAX_DRAWN + 500)]
    title = parsed(draw_plot(script("loss"), trials, "slice", 0))["layout"]["title"]["text"]
    assert title.endswith("(2,000 of 2,500 trials)")


def values_with(*far: float) -> list[float]:
    return [0.5 + number * 7 % 40 / 100 for number in range(40)] + list(far)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("kind", ["history", "slice"])
def test_axes_end_where_few_values_are_far_worse_and_the_title_says_so(kind: PlotKind, direction: str) -> None:
    sign = 1 if direction == "minimize" else -1
    spec = script("loss", objective={"metric": "loss", "direction": direction})
    trials = [trial(number, sign * value) for number, value in enumerate(values_with(9.0, 80.0))]
    layout = parsed(draw_plot(spec, trials, kind, 0))["layout"]
    axes = [axis["range"] for name, axis in layout.items() if name.startswith("yaxis")]
    assert axes
    for low, high in axes:
        worst, best = (high, low) if sign == 1 else (-low, -high)
        assert best < 0.5
        assert 0.9 < worst < 2.0
    assert layout["title"]["text"].endswith("(2 far worse not shown)")
    layout = parsed(draw_plot(spec, trials[:40], kind, 0))["layout"]
    assert all("range" not in axis for name, axis in layout.items() if name.startswith("yaxis"))
    assert "not shown" not in layout["title"]["text"]


def test_lines_of_far_worse_trials_are_left_out_and_the_best_lie_in_front() -> None:
    trials = [trial(number, value) for number, value in enumerate(values_with(9.0, float("inf")))]
    figure = parsed(draw_plot(script("loss"), trials, "parallel-coordinates", 0))
    lines = [line for line in figure["data"] if line["mode"] == "lines"]
    shown = [float(line["customdata"][0][1]) for line in lines]
    assert shown == pytest.approx(sorted(values_with(), reverse=True))
    assert figure["layout"]["title"]["text"].endswith("(40 of 42 trials, 1 far worse not shown)")


def test_history_shows_each_trial_with_its_own_value_where_numbers_are_left_out() -> None:
    numbers = [0, 2, 3, 7]
    trials = [trial(number, 10.0 - number) for number in numbers]
    trials.insert(1, trial(1, 5.0, state=TrialState.PRUNED))
    figure = json.loads(draw_plot(script("loss"), trials, "history", 0))
    values, best, *_ = figure["data"]
    assert dict(zip(values["x"], values["y"], strict=True)) == {number: 10.0 - number for number in numbers}
    assert best["x"] == sorted([*numbers, 1]), "as Optuna draws it, the best so far stands beside each trial"
