"""Which finished studies a new one learns from, and how much of them is read."""

from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from service.lifecycle.studies.warm_start import past_studies
from service.store import past_trials, studies, study_summaries
from service.store.store import Store
from service.store.studies import StudyRow
from spezia.contract.facts import Facts, Similarity
from spezia.contract.study_spec import StudySpec
from tests.conftest import FakeClock
from tests.service.search.builders import SPACE, History, make_facts, make_spec, make_trial

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def finished(
    store: Store,
    name: str,
    trials: list[FrozenTrial],
    *,
    facts: Facts | None = None,
    spec: StudySpec | None = None,
    **columns: Any,
) -> StudyRow:
    """A study that has ended with these trials."""
    with store.writing() as tx:
        study = studies.create(tx, (spec or make_spec()).model_copy(update={"name": name}), [])
        assert study is not None
        for trial in trials:
            tx.trials.add_trial(study.study_id, trial)
        n_complete = sum(trial.state is TrialState.COMPLETE for trial in trials)
        summary = study_summaries.Summary(complete=n_complete, failures={}, leaders=[])
        study_summaries.put(tx, study.uuid, summary)
        columns = {"state": "complete", "finished_at": tx.now} | columns
        return studies.change(tx, study, facts=facts or make_facts(), **columns)


def random_trials(values: list[float], *, state: TrialState = TrialState.COMPLETE, **fields: Any) -> list[FrozenTrial]:
    history = History(make_spec(sampler={"name": "random"}))
    found = []
    for number, value in enumerate(values):
        proposal = history.propose({})
        assert proposal is not None
        found.append(
            make_trial(
                number,
                state=state,
                value=value,
                params=proposal.params,
                distributions=proposal.distributions,
                **fields,
            )
        )
    return found


def names_for(store: Store, facts: Facts, **spec: Any) -> list[str]:
    with store.writing() as tx:
        study = studies.create(tx, make_spec(name="new", warm_start="auto", **spec), [])
        assert study is not None
        names = [one.name for one in past_studies(tx, study, facts)]
        studies.forget(tx, study)
    return names


def test_the_best_and_the_first_trials_are_read_and_no_others(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past_trials, "N_BEST", 3)
    monkeypatch.setattr(past_trials, "N_FIRST", 2)
    values = [0.9, 0.8, 0.7, float("inf"), 0.1, 0.6, 0.2, 0.3, float("nan")]
    curves = {step: 1 / step for step in range(1, 9)}
    study = finished(store, "a", random_trials(values[:-1], intermediate_values=curves))
    pruned = finished(store, "b", random_trials([0.5, 0.4, 0.3, 0.2], state=TrialState.PRUNED))
    with store.reading() as tx:
        wanted = {study.study_id: {2, 8}, pruned.study_id: {1}}
        low, high = (past_trials.best_and_first(tx, wanted, sign) for sign in (1.0, -1.0))
    assert {one.number for one in low[study.study_id]} == {0, 1, 4, 6, 7}
    assert {one.number for one in high[study.study_id]} == {0, 1, 2}
    assert {one.number for one in low[pruned.study_id]} == {0, 1, 2, 3}
    assert {step for one in low[study.study_id] for step in one.intermediate_values} == {2, 8}
    assert low[study.study_id][0].values == [0.9]


def test_studies_of_the_same_owner_and_task_that_have_ended_with_a_value_are_found(
    store: Store, clock: FakeClock
) -> None:
    trials = random_trials([0.1])
    for name, columns in (
        ("old", {}),
        ("cancelled", {"state": "cancelled"}),
        ("running", {"state": "running", "finished_at": None}),
        ("foreign", {"owner": "alice"}),
    ):
        clock.advance(1)
        finished(store, name, trials, **columns)
    finished(store, "empty", [])
    finished(store, "other-task", trials, spec=make_spec(task="text-regression"))
    with store.reading() as tx:

        def found(owner: str | None, limit: int = 9, names: list[str] | None = None) -> list[str]:
            return [one.name for one in studies.finished(tx, owner, "text-classification", limit, names)]

        assert found(None) == ["cancelled", "old"]
        assert found(None, limit=1) == ["cancelled"]
        assert found(None, names=["old", "foreign"]) == ["old"]
        assert found("alice") == ["foreign"]


@ON_SQLITE
def test_a_study_with_an_enormous_spec_is_read_only_if_it_is_named(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(store, "large", random_trials([0.1]))
    monkeypatch.setattr(studies, "MAX_CHARACTERS", 500)
    assert names_for(store, make_facts()) == []
    with store.reading() as tx:
        named = studies.finished(tx, None, "text-classification", 9, ["large"])
    assert [one.name for one in named] == ["large"]


@ON_SQLITE
def test_the_most_alike_come_first_and_of_equals_the_last_that_ended(store: Store, clock: FakeClock) -> None:
    for name, rows in (("b", 100), ("far", 100_000), ("a", 100), ("near", 300)):
        clock.advance(1)
        finished(store, name, random_trials([0.1]), facts=make_facts().model_copy(update={"train_rows": rows}))
    assert names_for(store, make_facts()) == ["a", "b", "near", "far"]
    assert names_for(store, make_facts(), search_space={"dropout": {"type": "float", "low": 0.0, "high": 0.1}}) == []
    assert names_for(store, make_facts(), search_space={"epochs": SPACE["epochs"]}) == ["a", "b", "near", "far"]


@ON_SQLITE
def test_an_earlier_probe_of_the_same_task_stands_for_the_one_to_come(store: Store, clock: FakeClock) -> None:
    for name, skill, sha in (("similar", 0.9, "1" * 64), ("different", 0.1, "2" * 64), ("same", 0.9, "0" * 64)):
        clock.advance(1)
        similarity = Similarity(metrics={"skill": skill}, suggestion=None, why="")
        facts = make_facts().model_copy(update={"similarity": similarity, "data_sha256": sha})
        finished(store, name, random_trials([0.1]), facts=facts)
    assert names_for(store, make_facts()) == ["same", "similar", "different"]
    unknown = make_facts().model_copy(update={"data_sha256": "3" * 64})
    assert names_for(store, unknown) == ["same", "different", "similar"]  # by when they ended
