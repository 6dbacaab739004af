"""Advice is accepted, does what it says, and contradicts itself nowhere, whatever study it is about."""

import re
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from service.errors import Invalid
from service.lifecycle.studies.advise import Advised, Adviser
from service.lifecycle.studies.check_spec import check_spec
from service.search.finding import parameter_of
from service.search.lint.lint import lint
from service.search.presets.presets import PRESETS
from service.search.results.edges import edges
from service.search.results.explain import explain
from service.search.results.learning_curve import Point
from service.search.space.params import trial_params
from spezia.contract.advice import Advice, with_changes
from spezia.contract.hyperparameters import HYPERPARAMETERS, METHODS, Hyperparameter, ParamValue
from spezia.contract.ranges import Choices
from spezia.contract.space import dimensions
from spezia.contract.study_spec import Params, StudySpec
from tests.service.search.builders import make_facts

RATE = {"type": "float", "low": 1e-5, "high": 1e-3, "log": True}
EPOCHS = {"type": "int", "low": 1, "high": 4}
DROPOUT = {"type": "float", "low": 0.0, "high": 0.6}
NAMES = sorted(HYPERPARAMETERS)
OWN = ("depth", "eta", "share", "kind")
"""Names that only a script knows."""


def number(known: Hyperparameter | None, kind: str) -> st.SearchStrategy[Any]:
    low, high = (0.0, 10.0) if known is None else (known.low, min(known.high, 100.0))
    if kind == "int":
        return st.integers(int(low), int(high))
    excluded = known is not None and known.high_is_open
    usual = st.floats(low, high, exclude_min=bool(known and known.low_is_open), exclude_max=excluded)
    return st.one_of(usual, st.sampled_from([value for value in (1e-5, 1e-3, 0.1, 0.5) if low < value < high]))


@st.composite
def entries(draw: st.DrawFn, name: str) -> dict[str, Any]:
    known = HYPERPARAMETERS.get(name)
    if known is not None and known.type in ("name", "bool"):
        values: list[Any] = list(known.choices) or [True, False]
        chosen = draw(st.lists(st.sampled_from(values), min_size=1, unique=True))
        return {"type": "categorical", "choices": chosen}
    kind = known.type if known else draw(st.sampled_from(["int", "float"]))
    if draw(st.integers(0, 4)) == 0:
        choices = draw(st.lists(number(known, kind), min_size=1, max_size=5, unique=True))
        return {"type": "categorical", "choices": choices}
    low, high = sorted(draw(st.tuples(number(known, kind), number(known, kind))))
    entry = {"type": kind, "low": low, "high": high, "log": low > 0 and draw(st.booleans())}
    steps = draw(st.integers(1, 4))
    if kind == "int" and not entry["log"] and (high - low) % steps == 0:
        entry["step"] = steps
    return entry


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    """A study as somebody may post it; some of them are refused."""
    is_script = draw(st.integers(0, 4)) == 0
    names = list(OWN) if is_script else NAMES
    searched = draw(st.lists(st.sampled_from(names), min_size=1, max_size=7, unique=True))
    space = {name: draw(entries(name)) for name in searched}
    fixed = {
        name: draw(st.sampled_from(entry["choices"]) if "choices" in entry else st.just(entry["high"]))
        for name in draw(st.lists(st.sampled_from(names), max_size=3, unique=True))
        if name not in space
        for entry in [draw(entries(name))]
    }
    for name in set(space) & {"lora_rank", "lora_dropout", "lora_alpha_ratio"}:
        space.setdefault("method", {"type": "categorical", "choices": list(METHODS)})
        space[name]["when"] = {"method": "lora"}
    fixed = {name: value for name, value in fixed.items() if name not in space}
    body = {
        "task": "script"
        if is_script
        else draw(st.sampled_from(["text-classification", "causal-lm", "text-regression"])),
        "search_space": space,
        "fixed": fixed,
        "n_trials": draw(st.sampled_from([1, 2, 3, 8, 12, 20, 40, 100])),
        "n_parallel": draw(st.sampled_from([None, 1, 2, 12, 30])),
        "sampler": draw(
            st.sampled_from(
                [
                    {"name": "tpe"},
                    {"name": "tpe", "options": {"n_startup_trials": 3}},
                    {"name": "random"},
                    {"name": "grid"},
                    {"name": "cmaes"},
                    {"name": "nsga2"},
                    {"name": "nsga3", "options": {"population_size": 2}},
                ]
            )
        ),
        "baseline": not is_script,
    }
    if is_script:
        return body | {"script": "a.py", "objective": {"metric": "r2", "direction": "maximize"}}
    pruner = draw(
        st.sampled_from(
            [
                {"name": "none"},
                {"name": "median"},
                {"name": "median", "options": {"n_warmup_steps": 9, "n_startup_trials": 50}},
                {"name": "successive-halving", "options": {"min_resource": 4, "min_early_stopping_rate": 100_000}},
                {"name": "hyperband", "options": {"min_resource": 9}},
                {"name": "patient", "options": {"patience": 9}},
                {"name": "rungs"},
                {"name": "rungs", "options": {"first": 9, "eta": 2, "top": 30}},
                {"name": "threshold", "options": {"upper": 0.9}},
            ]
        )
    )
    return body | {
        "model": {"name": draw(st.sampled_from(["m", "all-MiniLM-L6-v2"]))},
        "data": {"train": "train.csv", "test": draw(st.sampled_from([None, "test.csv"]))},
        "preset": draw(st.sampled_from([None, None, *sorted(PRESETS)])),
        "pruner": pruner,
        "target_value": draw(st.sampled_from([None, 0.1])),
        "training": {
            "evaluations_per_epoch": draw(st.sampled_from([1, 4])),
            "keep_models": draw(st.sampled_from([0, 1])),
            "early_stopping_patience": draw(st.sampled_from([None, 3])),
        },
        "enqueue": [{name: entry["choices"][0]} for name, entry in space.items() if "choices" in entry][:1],
    }


@st.composite
def winners(draw: st.DrawFn, spec: StudySpec) -> Params:
    """Params of a trial, often at the edges of its ranges."""
    params: Params = {}
    for one in dimensions(spec.search_space):
        if not one.is_active(spec.fixed | params):
            continue
        within = one.distribution
        ends: list[ParamValue] = within.choices if isinstance(within, Choices) else [within.low, within.high]
        params[one.name] = draw(st.sampled_from(ends))
    return trial_params(spec, params)


@dataclass(frozen=True)
class Told:
    spec: StudySpec
    advised: list[Advised]


@st.composite
def told(draw: st.DrawFn) -> Told | None:
    """What is said of a study that the service takes, or of its winner."""
    try:
        spec = check_spec(StudySpec.model_validate(draw(specs())))
    except (ValidationError, Invalid):
        return None
    if draw(st.booleans()):
        return Told(spec, Adviser(spec).on_spec())
    params = draw(winners(spec))
    facts = draw(st.sampled_from([make_facts(), make_facts().model_copy(update={"blocks": None})]))
    losses = draw(st.lists(st.tuples(st.floats(0.01, 3), st.floats(0.01, 3)), min_size=1, max_size=6))
    n_epochs = params.get("epochs", 3)
    assert isinstance(n_epochs, int | float)
    curve = [
        Point(
            step=step,
            epoch=n_epochs * step / len(losses),
            value=validation,
            metrics={"validation_loss": validation, "train_loss": train, "accuracy": 1 - train / 4},
        )
        for step, (validation, train) in enumerate(losses, start=1)
    ]
    found = [*explain(spec, params, curve, facts), *edges(spec, params, facts)]
    return Told(spec, Adviser(spec).on_trial(found))


def advice_of(advised: list[Advised]) -> list[Advice]:
    return [one.advice for one in advised if one.advice is not None]


PROPERTY = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@PROPERTY
@given(told())
def test_every_advice_is_accepted_and_made(told: Told | None) -> None:
    for advice in advice_of(told.advised) if told else []:
        changed = check_spec(with_changes(told.spec, advice.changes))
        assert with_changes(changed, advice.changes) == changed != told.spec


@PROPERTY
@given(told())
def test_no_two_contradict(told: Told | None) -> None:
    if told is None:
        return
    changed, seen = told.spec, set()
    for advice in advice_of(told.advised):
        parameters = {parameter_of(change.field) for change in advice.changes}
        assert not parameters & seen
        seen |= parameters
        changed = check_spec(with_changes(changed, advice.changes))
    for advice in advice_of(told.advised):
        assert with_changes(changed, advice.changes) == changed


@PROPERTY
@given(told())
def test_advice_mends_what_lint_has_found_and_brings_a_winner_no_further_warning(told: Told | None) -> None:
    for one in told.advised if told else []:
        if one.advice is None:
            continue
        before, after = lint(told.spec), lint(with_changes(told.spec, one.advice.changes))
        if one.finding.field:
            assert (one.finding.field, one.finding.message) not in {(left.field, left.message) for left in after}
        else:
            new = {parameter_of(left.field) for left in after} - {parameter_of(left.field) for left in before}
            assert new <= {parameter_of(change.field) for change in one.advice.changes}


@PROPERTY
@given(told())
def test_sentences_are_in_order_of_gain_and_free_of_odd_numbers(told: Told | None) -> None:
    if told is None:
        return
    gains = [one.finding.gain for one in told.advised]
    assert gains == sorted(gains, reverse=True)
    for one in told.advised:
        sentence = str(one.finding)
        assert one.advice is None or one.advice.sentence == sentence
        assert not re.search(r"\d\.\de\+|  |None|\[\]|\(\)", sentence), sentence


@PROPERTY
@given(specs())
def test_no_warning_is_lost_with_its_advice(body: dict[str, Any]) -> None:
    try:
        spec = check_spec(StudySpec.model_validate(body))
    except (ValidationError, Invalid):
        return
    found = {(one.field, one.message) for one in lint(spec)}
    assert {(one.finding.field, one.finding.message) for one in Adviser(spec).on_spec()} == found


def study(space: dict[str, Any], **changes: Any) -> StudySpec:
    basics = {"task": "text-classification", "model": {"name": "m"}, "data": {"train": "a.csv"}, "n_trials": 20}
    return check_spec(StudySpec.model_validate(basics | {"search_space": space} | changes))


def curve(*losses: tuple[float, float]) -> list[Point]:
    """Validation and training loss after each epoch."""
    return [
        Point(step=step, epoch=float(step), value=loss, metrics={"validation_loss": loss, "train_loss": train})
        for step, (loss, train) in enumerate(losses, start=1)
    ]


OVERFITTED = curve((0.7, 0.7), (0.4, 0.38), (0.45, 0.3), (0.52, 0.12))
IMPROVING = curve((0.9, 0.9), (0.7, 0.7), (0.6, 0.6))


def said_of_winner(spec: StudySpec, params: Params, steps: list[Point]) -> list[str]:
    own = trial_params(spec, params)
    facts = make_facts()
    found = [*explain(spec, own, steps, facts), *edges(spec, own, facts)]
    return [str(one.finding) for one in Adviser(spec).on_trial(found)]


@pytest.mark.parametrize(
    ("spec", "params", "steps", "unsaid", "said"),
    [
        # to shorten the trials and to lengthen them
        (study({"epochs": EPOCHS}), {"epochs": 4}, OVERFITTED, "epochs.high to 7", ["epochs.high to 2"]),
        # a whole number as a float
        (
            study({"batch_size": {"type": "int", "low": 8, "high": 33, "log": True}}),
            {"batch_size": 33},
            [],
            "e+",
            ["set search_space.batch_size.high to 99"],
        ),
        # an end that is excluded itself
        (study({"dropout": DROPOUT}), {"dropout": 0.6}, [], "high to 1", ["set search_space.dropout.high to 0.8"]),
        # more blocks than the model has, which are six
        (
            study({"frozen_layers": {"type": "categorical", "choices": [0, 2, 4]}}),
            {"frozen_layers": 4},
            [],
            "frozen_layers",
            [],
        ),
        # an edge that would move the other way
        (study({"epochs": EPOCHS | {"high": 10}}), {"epochs": 3}, IMPROVING, "high to 6", []),
        # the least rate that there is
        (
            study({"learning_rate": RATE | {"low": 1e-4, "log": False}}),
            {"learning_rate": 1e-4},
            [],
            "1e-12",
            [],  # that its scale should be logarithmic has been said before the study began
        ),
        # what is fixed is not to be searched
        (
            study({"epochs": EPOCHS}, fixed={"dropout": 0.1}),
            {"epochs": 4},
            OVERFITTED,
            "dropout",
            ["or search weight_decay from 0 to 0.3"],
        ),
        # what the study does already
        (
            study({"learning_rate": RATE | {"low": 1e-4}}, fixed={"method": "lora"}, n_trials=8),
            {"learning_rate": 3e-4},
            OVERFITTED,
            "method lora",
            ["set fixed.epochs to 2, or give more training data"],
        ),
    ],
)
def test_advice_that_did_not_help_is_no_longer_given(
    spec: StudySpec, params: Params, steps: list[Point], unsaid: str, said: list[str]
) -> None:
    sentences = said_of_winner(spec, params, steps)
    assert [sentence for sentence in sentences if unsaid in sentence] == []
    assert len(sentences) == len(said)
    assert all(words in sentence for words, sentence in zip(said, sentences, strict=True))


def test_population_stays_one() -> None:
    spec = study({"learning_rate": RATE}, n_trials=3, sampler={"name": "nsga2"})
    (advised,) = Adviser(spec).on_spec()
    assert "lower population_size to 2, or raise n_trials" in str(advised.finding)
    spec = study({"learning_rate": RATE}, n_trials=2, sampler={"name": "nsga2", "options": {"population_size": 2}})
    (advised,) = Adviser(spec).on_spec()
    assert (advised.finding.advice, advised.advice) == ("raise n_trials", None)


def test_what_lint_has_said_of_a_parameter_is_not_said_otherwise_of_the_winner() -> None:
    batches = {"type": "categorical", "choices": [8, 16, 32]}
    spec = study({"learning_rate": RATE, "batch_size": batches})
    assert "fix batch_size at 16" in str(Adviser(spec).on_spec()[0].finding)
    assert said_of_winner(spec, {"learning_rate": 1e-4, "batch_size": 32}, []) == []


def test_what_the_preset_would_undo_is_not_advised() -> None:
    spec = study({"learning_rate": RATE}, preset="encoder-small-data", n_trials=9)
    (advised,) = [one for one in Adviser(spec).on_spec() if one.finding.field == "n_trials"]
    assert advised.finding.advice == "raise n_trials to 20"  # and not: search only learning_rate


def test_what_an_enqueued_trial_needs_is_kept() -> None:
    spec = study({"epochs": EPOCHS}, enqueue=[{"epochs": 4}])
    assert "epochs.high" not in said_of_winner(spec, {"epochs": 4}, OVERFITTED)[0]
