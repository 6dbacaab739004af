"""F07, F14 to F17, F35 to F38, F54, F55, F60 and F64: who stands still, whose clock is wrong, and what comes back."""

import os
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine

from service.errors import LeaseLost
from service.lease_and_heartbeat_terms import LEASE_SECONDS
from service.lifecycle.leases.reap import reap, void_leases
from service.lifecycle.studies.settle_overdue import settle_overdue
from service.lifecycle.studies.state_machine import pause, resume
from service.lifecycle.trials.show_trial import show_trial
from service.store.sql.engine import open_engine
from service.store.sql.sqlite import library
from spezia.contract.assignments import TrialAssignment
from tests.faults import actors
from tests.faults.stories import Story
from tests.faults.world import World

NewWorld = Callable[..., World]
only_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
LONG = 10 * LEASE_SECONDS


def test_f07_after_an_outage_nobody_is_blamed(new_world: NewWorld) -> None:
    story = Story(new_world(), n_trials=8)
    story.prepare()
    held = story.ask(actors.asking(story.worker_id, 8))
    story.world.clock.advance(LONG)
    story.world.services[0].restart()
    story.live(LEASE_SECONDS)
    assert {story.beat(one) for one in held} == {"continue"}
    story.holds()


def test_f14_a_worker_that_slept_through_another_ones_result_changes_nothing(new_world: NewWorld) -> None:
    story = Story(new_world(), n_trials=1)
    held = story.begin()
    story.live(LEASE_SECONDS + 16)
    other = story.take(story.new_worker())
    story.report(other, 1, 0.4, final=True)
    story.ask(actors.uploading(other, "model.bin"))
    story.tell(other)
    assert story.beat(held) == "lost"
    assert story.report(held, 2, 0.1, final=True).directive == "lost"
    for request in (actors.uploading(held, "model.bin"), actors.releasing(held)):
        assert isinstance(story.ask(request), LeaseLost)
    assert isinstance(story.tell(held), LeaseLost)
    story.holds()
    assert show_trial(story.world.services[0].store, story.name, 0).value == 0.4


def test_f15_a_worker_that_wakes_before_the_reaper_goes_on(new_world: NewWorld) -> None:
    story = Story(new_world())
    held = story.begin()
    story.live(LEASE_SECONDS)
    story.world.clock.advance(14.0)
    assert story.report(held, 2, 0.4).directive == "continue"
    story.live(60.0)
    assert story.tell(held).replayed is False
    story.holds()


def test_f17_a_service_that_stood_still_does_not_reap_for_it(new_world: NewWorld) -> None:
    story = Story(new_world())
    held = story.begin()
    world = story.world
    world.clock.advance(15.0)
    # stopped in the middle of its round, between its look and its deeds
    world.reap(world.services[0], lambda: world.clock.advance(LONG))
    world.reap(world.services[0])
    assert story.beat(held) == "continue"
    story.holds()


@pytest.mark.parametrize("jump", [3600.0, -3600.0], ids=["forward", "back"])
def test_f35_f36_a_clock_that_jumps_costs_nobody_a_trial(new_world: NewWorld, jump: float) -> None:
    story = Story(new_world())
    held = story.begin()
    story.world.clock.advance(jump)
    story.live(60.0)
    assert story.beat(held) == "continue"
    # and a worker that died meanwhile is noticed as soon as ever
    story.live(LEASE_SECONDS + 30)
    assert story.beat(held) == "lost"
    story.holds()


@only_sqlite
def test_f38_times_are_right_in_another_time_zone(new_world: NewWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story(new_world())
    story.begin()
    shown = []
    try:
        for zone in ("Asia/Tokyo", "America/New_York", "UTC"):
            monkeypatch.setitem(os.environ, "TZ", zone)
            time.tzset()
            story.world.services[0].restart()
            shown.append(show_trial(story.world.services[0].store, story.name, 0).started_at)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert set(shown) == {story.world.clock.instant}


def test_f64_the_clock_of_a_paused_study_stands_whatever_happens_meanwhile(new_world: NewWorld) -> None:
    story = Story(new_world(), timeout_seconds=100.0)
    story.prepare()
    store = story.world.services[0].store
    story.live(30.0)
    pause(store, story.name)
    story.live(LONG)
    story.world.clock.advance(LONG)  # no service lives
    story.world.services[0].restart()
    store = story.world.services[0].store
    settle_overdue(store)
    resume(store, story.name)
    held = story.take()
    assert isinstance(held, TrialAssignment)
    assert held.seconds_left == 70.0
    # neither this worker nor another is heard of again
    for _ in range(9):
        story.live(15.0)
        settle_overdue(store)
    assert story.world.state_of(story.name) == "complete"
    story.world.check(is_quiet=True)
    assert story.world.complaints == []


def test_f54_of_two_machines_with_one_worker_id_one_holds_the_trial(new_world: NewWorld) -> None:
    story = Story(new_world())
    held = story.begin()
    again = story.take(story.worker_id)
    assert (again.lease_id, again.token != held.token) == (held.lease_id, True)
    assert (story.beat(held), story.beat(again)) == ("lost", "continue")
    story.holds()


@only_sqlite
def test_f55_a_restart_before_each_proposal_changes_none(new_world: NewWorld) -> None:
    params = []
    for restarts in (False, True):
        story = Story(new_world(), n_trials=12, sampler={"name": "tpe"})
        story.prepare()
        taken = []
        for _ in range(12):
            if restarts:
                story.world.services[0].restart()
            held = story.take()
            taken.append(getattr(held, "params"))  # noqa: B009
            story.report(held, 1, 0.5, final=True)
            story.tell(held)
        params.append([str(one) for one in taken])
    assert params[0] == params[1]
    assert len(set(params[0])) == 12


@only_sqlite
def test_f60_after_a_backup_is_restored_no_lease_is_good(engine: Engine, database_url: str, tmp_path: Path) -> None:
    world = World(engine, tmp_path / "artifacts")
    story = Story(world, n_trials=3)
    old = story.begin()
    backup = tmp_path / "backup.db"
    path = database_url.removeprefix("sqlite:///")
    with closing(library.connect(path)) as source, closing(library.connect(backup)) as target:
        source.backup(target)
    story.tell(old)
    newer = story.take()
    restored = World(open_engine(f"sqlite:///{backup}"), tmp_path / "artifacts")
    story.world = restored
    assert void_leases(restored.services[0].store) == 1
    assert void_leases(restored.services[0].store) == 0
    for held in (old, newer):
        assert story.beat(held) == "lost"
        assert isinstance(story.tell(held), LeaseLost)
    story.finish()
    restored.check(is_quiet=True)
    assert restored.complaints == []
    restored.engine.dispose()


def test_a_service_that_begins_again_at_once_reaps_what_was_due(new_world: NewWorld) -> None:
    story = Story(new_world())
    held = story.begin()
    story.live(LEASE_SECONDS)
    story.world.clock.advance(20.0)
    story.world.services[0].restart()
    assert reap(story.world.services[0].store) == 1
    assert story.beat(held) == "lost"
