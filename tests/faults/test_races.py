"""Two at the very same moment. PostgreSQL lets them in together; SQLite makes the second wait."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import copy
from operator import attrgetter
from typing import Any

import pytest
from optuna.study import StudyDirection

from service.errors import LeaseLost, StudyExists
from service.failpoints import armed
from service.lifecycle.leases.heartbeat import heartbeat
from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.plan_study import plan_study
from service.store import leases, studies, trials
from service.store.sql.statements import Runner
from spezia.contract.protocol import HeldLease
from spezia.contract.study_spec import StudySpec
from tests.faults import actors
from tests.faults.mutants import RACES
from tests.faults.stories import Story, once, wait_until_one_waits, while_it_waits
from tests.faults.world import World
from tests.service.hand_worker import spec

NewWorld = Callable[..., World]
only_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
only_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def report_stale_since_it_looked(new_world: NewWorld) -> None:
    """F12: the trial is handed out again while a report waits for the study's lock."""
    story = Story(new_world(n_services=2))
    held = story.begin()
    late = actors.reporting(held, 2, 0.1, final=True)
    (reply,) = while_it_waits(story, late, lambda: story.take(service=1))
    assert reply.directive == "lost"
    story.holds()


def result_stale_since_it_looked(new_world: NewWorld) -> None:
    """F12, for a tell."""
    story = Story(new_world(n_services=2))
    held = story.begin()
    late = actors.telling(held, actors.result("trial", actors.STEADY))
    with pytest.raises(LeaseLost):
        while_it_waits(story, late, lambda: story.take(service=1))
    story.holds()


def reaper_meets_hand_out(new_world: NewWorld) -> None:
    """F35: a lease listed as expired is handed out again, after the clock was set back."""
    story = Story(new_world())
    held = story.begin()
    again: list[Any] = []

    def interlude() -> None:
        if not again and held.lease_id in story.world.expired():
            story.world.clock.advance(-3600.0)
            again.append(story.take())

    while not again:
        story.world.clock.advance(15.0)
        story.world.reap(story.world.services[0], interlude)
    assert story.beat(again[0]) == "continue"


def replay_by_the_stale(new_world: NewWorld) -> None:
    """The same result, told with the token of before."""
    story = Story(new_world())
    held = story.begin()
    again = story.take()
    assert story.tell(again).replayed is False
    assert isinstance(story.tell(held), LeaseLost)
    assert story.tell(again).replayed is True
    story.holds()


RACE_TESTS = {
    "a report is stale since it looked": (report_stale_since_it_looked, "postgresql"),
    "a result is stale since it looked": (result_stale_since_it_looked, "postgresql"),
    "the reaper takes what was handed out again": (reaper_meets_hand_out, "sqlite"),
    "a result is replayed to the stale": (replay_by_the_stale, "sqlite"),
}
races = pytest.mark.parametrize(
    ("race", "database_url"),
    [(name, database) for name, (_, database) in RACE_TESTS.items()],
    indirect=["database_url"],
)


@races
def test_a_race_changes_nothing(race: str, new_world: NewWorld) -> None:
    RACE_TESTS[race][0](new_world)


@races
def test_without_its_guard_the_race_is_lost(race: str, new_world: NewWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    for cut in RACES[race]:
        cut.apply(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        RACE_TESTS[race][0](new_world)


@only_postgresql
def test_a_study_created_by_two_at_once_is_one_study(new_world: NewWorld) -> None:
    world = new_world(n_services=2)
    wanted = StudySpec.model_validate(spec(name="twice"))
    with armed("create.looked", once(lambda: create_study(world.services[1].store, plan_study(wanted)))):
        assert create_study(world.services[0].store, plan_study(wanted)) == ("twice", False)
    assert create_study(world.services[0].store, plan_study(wanted)) == ("twice", False)


def test_the_name_of_a_study_that_optuna_made_is_taken(new_world: NewWorld) -> None:
    world = new_world()
    with world.services[0].store.writing() as tx:
        tx.trials.create_new_study([StudyDirection.MINIMIZE], "theirs")
    with pytest.raises(StudyExists, match="Optuna made"):
        create_study(world.services[0].store, plan_study(StudySpec.model_validate(spec(name="theirs"))))


@only_postgresql
def test_a_trial_that_ends_while_it_is_read_is_seen_whole(new_world: NewWorld) -> None:
    world = new_world(n_services=2)
    story = Story(world)
    held = story.begin()
    reader = world.services[1].store
    with reader.reading() as tx:
        study = studies.find(tx, story.name)
    with ends_between_statements(lambda: story.tell(held)) as is_told, reader.reading() as tx:
        trials.all_of(tx, study)
    assert is_told
    with reader.reading() as tx:
        (trial, *_) = trials.all_of(tx, study)
    assert (trial.state.name, trial.value) == ("COMPLETE", 0.5)


@contextmanager
def ends_between_statements(action: Callable[[], Any]) -> Iterator[list[bool]]:
    """Run ``action`` when the values of trials have just been read, and not their states."""
    is_done: list[bool] = []

    execute = Runner._execute

    def execute_and_look(runner: Runner, call: Any, compiled: Any) -> Any:
        cursor = execute(runner, call, compiled)
        if not is_done and "FROM trial_values" in compiled.text:
            is_done.append(True)
            action()
        return cursor

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, "_execute", execute_and_look)
        yield is_done


@only_postgresql
def test_reports_that_share_a_transaction_and_a_heartbeat_do_not_wait_for_each_other(new_world: NewWorld) -> None:
    story = Story(new_world())
    story.prepare()
    first, second = sorted(story.ask(_asking_for(story, 2)), key=attrgetter("lease_id"))
    service = story.world.services[0]
    store = service.store

    def report_both() -> None:
        with store.writing() as tx:
            sharing = copy(service)
            sharing.store = store.within(tx)
            for held in (second, first):
                actors.reporting(held, 1, 0.5, final=False).call(sharing)

    with ThreadPoolExecutor(1) as threads:
        with store.writing() as beating:
            beating.ask(leases.renew(first.lease_id, first.token, beating.now))
            both = threads.submit(report_both)
            wait_until_one_waits(story.world.engine)
            beating.ask(leases.renew(second.lease_id, second.token, beating.now))
        both.result()
    story.holds()


@only_postgresql
def test_heartbeats_and_the_grace_after_an_outage_do_not_wait_for_each_other(new_world: NewWorld) -> None:
    world = new_world(n_services=2)
    story = Story(world, n_trials=12)
    story.prepare()
    held = [HeldLease(lease_id=one.lease_id, token=one.token) for one in story.ask(_asking_for(story, 8))]
    errors: list[Exception] = []

    def repeat(deed: Callable[[], Any]) -> None:
        try:
            for _ in range(30):
                deed()
        except Exception as error:
            errors.append(error)

    def restart() -> None:
        with world.services[1].store.writing() as tx:
            leases.restart_terms(tx)

    first, second = world.services
    deeds: list[Callable[[], Any]] = [
        lambda: heartbeat(first.store, held, 0),
        lambda: heartbeat(second.store, held[::-1], 0),
        restart,
    ]
    threads = [threading.Thread(target=repeat, args=(deed,)) for deed in deeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    story.holds()


def _asking_for(story: Story, slots: int) -> Any:
    return actors.asking(story.worker_id, slots)


@only_sqlite
def test_a_worker_that_asks_for_less_than_it_holds_keeps_the_rest(new_world: NewWorld) -> None:
    story = Story(new_world())
    story.prepare()
    first, second = story.ask(actors.asking(story.worker_id, 2))
    (again,) = story.ask(actors.asking(story.worker_id, 1))
    assert (again.number, story.beat(first)) == (first.number, "lost")
    assert story.beat(second) == "continue"
    story.holds()


@only_sqlite
def test_a_poll_that_has_waited_leaves_the_newer_ones_token_alone(new_world: NewWorld) -> None:
    story = Story(new_world())
    held = story.begin()
    assert story.ask(actors.asking(story.worker_id, hands_out_again=False)) == []
    assert story.beat(held) == "continue"


@only_sqlite
def test_only_a_trial_reports(new_world: NewWorld) -> None:
    story = Story(new_world())
    held = story.take()
    assert held.kind == "prepare"
    assert story.report(held, 1, 0.5).code == "outcome-refused"
    story.tell(held)
    story.holds()
