"""F11, F30 to F33, F56: the database says no, says nothing, or is full."""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.exc import OperationalError

from service.errors import Unavailable
from service.failpoints import armed
from service.lifecycle.leases import tell
from service.lifecycle.leases.end_orphans import end_orphans
from service.lifecycle.studies.describe_study import show_study
from service.lifecycle.trials.enqueue_first_trials import FirstTrials
from service.store.sql import sqlite
from service.store.sql.engine import open_engine
from tests.faults import actors
from tests.faults.invariants import violations
from tests.faults.stories import Story
from tests.faults.world import World
from tests.stock import stock_storage

NewWorld = Callable[..., World]
only_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_f11_two_services_never_hand_out_one_trial_twice(new_world: NewWorld) -> None:
    world = new_world(n_services=2)
    story = Story(world, n_trials=40)
    story.prepare()
    asking = [story.new_worker() for _ in range(4)]
    taken: list[int] = []
    errors: list[Exception] = []

    def work(worker_id: str, service: int) -> None:
        try:
            for _ in range(10):
                (held,) = actors.asking(worker_id).call(world.services[service])
                taken.append(held.number)
                for request in (
                    actors.reporting(held, 1, 0.5, final=True),
                    actors.telling(held, actors.result("trial", actors.STEADY)),
                ):
                    request.call(world.services[service])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(worker_id, i % 2)) for i, worker_id in enumerate(asking)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(taken) == list(range(40))
    story.holds()


@only_sqlite
def test_f30_a_locked_file_is_an_error_that_passes(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    engine = open_engine(database_url)
    story = Story(World(engine, tmp_path / "artifacts"))
    held = story.begin()
    path = database_url.removeprefix("sqlite:///")
    with contextlib.closing(sqlite.library.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        outcome = actors.result("trial", actors.STEADY)
        with pytest.raises(Unavailable, match="locked"):
            actors.telling(held, outcome).call(story.world.services[0])
        other.execute("ROLLBACK")
    assert story.tell(held).replayed is False
    story.holds()
    engine.dispose()


class FailsAt:
    """Breaks the n-th statement, as a deadlock or a lost connection does."""

    def __init__(self, engine: Engine, n: int) -> None:
        self._engine = engine
        self._left = n
        self._armed = contextlib.ExitStack()
        self.has_failed = False

    def __enter__(self) -> "FailsAt":
        event.listen(self._engine, "before_cursor_execute", self._look)
        self._armed.enter_context(armed("statement", self._look))
        return self

    def __exit__(self, *_: Any) -> None:
        self._armed.close()
        event.remove(self._engine, "before_cursor_execute", self._look)

    def _look(self, *_: Any) -> None:
        self._left -= 1
        if self._left == 0:
            self.has_failed = True
            raise OperationalError("", None, Exception("injected"))


@pytest.mark.parametrize("verb", ["dispatch", "report", "tell"])
def test_f31_whichever_statement_fails_nothing_is_done_by_halves(verb: str, new_world: NewWorld) -> None:
    story = Story(new_world(), n_trials=100)
    story.prepare()
    for n in itertools.count(1):
        held = None if verb == "dispatch" else story.take()
        if held is not None and verb == "tell":
            story.report(held, 1, 0.5, final=True)
        request = _request(verb, story, held)
        answer = None
        with FailsAt(story.world.engine, n) as failure, contextlib.suppress(Unavailable):
            answer = request.call(story.world.services[0])
        if not failure.has_failed:
            break
        story.holds()
        if answer is not None:
            continue  # accepted, and what failed came after: the model card waits for the reaper
        held = held or story.take()
        story.report(held, 1, 0.5, final=True)
        story.tell(held)
    assert n > 8
    story.holds()


def _request(verb: str, story: Story, held: Any) -> Any:
    if verb == "dispatch":
        return actors.asking(story.worker_id)
    if verb == "report":
        return actors.reporting(held, 1, 0.5, final=True)
    return actors.telling(held, actors.result("trial", actors.STEADY))


@only_sqlite
def test_f32_an_exhausted_pool_is_an_error_that_passes(database_url: str, tmp_path: Path) -> None:
    engine = create_engine(database_url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    world = World(engine, tmp_path / "artifacts")
    story = Story(world)
    held = story.begin()
    with world.services[0].store.reading(), pytest.raises(Unavailable):
        show_study(world.services[0].store, story.name)
    assert story.beat(held) == "continue"
    engine.dispose()


@only_sqlite
def test_f33_a_full_disk_loses_nothing_that_was_acknowledged(engine: Engine, tmp_path: Path) -> None:
    story = Story(World(engine, tmp_path / "artifacts"), n_trials=60)
    held = story.begin()
    limits: dict[str, int] = {"pages": 0}
    event.listen(engine, "checkout", lambda dbapi, *_: dbapi.execute(f"PRAGMA max_page_count={limits['pages']}"))
    limits["pages"] = 1  # means: as many as there are
    refused = None
    for step in range(2, 400):
        reply = story.report(held, step, 0.5)
        if isinstance(reply, Unavailable):
            refused = reply
            break
    assert refused is not None
    assert "full" in str(refused)
    assert violations(engine) == []
    limits["pages"] = 1 << 30
    assert story.report(held, step, 0.5).directive == "continue"
    assert story.tell(held).replayed is False
    story.holds()


def test_f56_a_trial_begun_behind_our_back_is_ended(new_world: NewWorld, database_url: str) -> None:
    story = Story(new_world(), n_trials=3)
    story.prepare()
    with quiet_optuna(), stock_storage(database_url) as storage:
        optuna.load_study(study_name=story.name, storage=storage).ask()
    assert end_orphans(story.world.services[0].store) == 1
    assert end_orphans(story.world.services[0].store) == 0
    story.finish()
    study = show_study(story.world.services[0].store, story.name)
    assert (study.state, study.trials.fail, study.trials.complete) == ("complete", 1, 2)
    story.holds()


def test_f56_first_trials_are_proposed_again_where_one_was_begun_meanwhile(
    new_world: NewWorld, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = Story(new_world(), n_trials=4, enqueue=[{"learning_rate": 1e-4}, {"learning_rate": 1e-5}])
    store = story.world.services[0].store
    numbers: list[int] = []
    propose = tell.propose_first_trials

    def propose_while_another_begins(*args: Any) -> FirstTrials:
        first = propose(*args)
        numbers.append(first.number)
        if len(numbers) == 1:
            with quiet_optuna(), stock_storage(database_url) as storage:
                optuna.load_study(study_name=story.name, storage=storage).ask()
        return first

    monkeypatch.setattr(tell, "propose_first_trials", propose_while_another_begins)
    story.prepare()
    assert numbers == [0, 1]
    assert show_study(store, story.name).trials.waiting == 2
    assert end_orphans(store) == 1
    story.finish()
    story.holds()


@contextlib.contextmanager
def quiet_optuna() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)
