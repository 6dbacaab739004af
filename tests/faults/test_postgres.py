"""F21 and F29: PostgreSQL crashes, stands still and cuts connections while several services work on it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from service.errors import Unavailable
from service.lifecycle.studies.describe_study import show_study
from service.store.sql.engine import open_engine
from service.store.sql.migrate import migrate
from tests import postgres
from tests.faults import actors
from tests.faults.processes import eventually, stopped
from tests.faults.stories import Story
from tests.faults.world import Request, Service, World

N_TRIALS = 24
N_WORKERS = 4


@pytest.fixture(scope="module")
def own_server() -> Iterator[postgres.OwnServer]:
    with postgres.own_server() as running:
        yield running


@pytest.fixture
def story(own_server: postgres.OwnServer, tmp_path: Path) -> Iterator[Story]:
    """A prepared study on two services."""
    with postgres.database(own_server.url) as url:
        engine = open_engine(
            make_url(url).update_query_dict({"connect_timeout": "2"}).render_as_string(hide_password=False)
        )
        migrate(engine)
        story = Story(World(engine, tmp_path / "artifacts", n_services=2), n_trials=N_TRIALS)
        story.prepare()
        yield story
        engine.dispose()


def insist(request: Request, service: Service, is_refused: Callable[[], None]) -> Any:
    while True:
        try:
            return request.call(service)
        except Unavailable:
            is_refused()


@contextmanager
def load(story: Story) -> Iterator[list[str]]:
    """Let workers run the study on both services; what they are refused is collected."""
    refused: list[str] = []
    errors: list[BaseException] = []

    def ask(request: Request, number: int) -> Any:
        return insist(request, story.world.services[number % 2], lambda: refused.append(request.verb))

    def work(number: int) -> None:
        worker_id = f"{number:032x}"
        try:
            ask(actors.registering(worker_id), number)
            while found := ask(actors.asking(worker_id), number):
                (held,) = found
                for step, value in ((1, 0.5), (2, 0.4)):
                    ask(actors.reporting(held, step, value, final=step == 2), number)
                ask(actors.telling(held, actors.result("trial", actors.STEADY)), number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(N_WORKERS)]
    for thread in threads:
        thread.start()
    yield refused
    for thread in threads:
        thread.join()
    assert errors == []


def n_finished(story: Story) -> int:
    with psycopg.connect(story.world.engine.url.render_as_string(hide_password=False)) as connection:
        found = connection.execute("SELECT count(*) FROM trials WHERE state = 'COMPLETE'").fetchone()
    assert found is not None
    return int(found[0])


def assert_whole(story: Story) -> None:
    study = show_study(story.world.services[0].store, story.name)
    assert (study.state, study.trials.complete, study.n_finished) == ("complete", N_TRIALS, N_TRIALS)
    story.world.check(is_quiet=True)
    story.holds()


@pytest.mark.slow
def test_f29_a_crash_of_postgresql_under_load_loses_nothing(story: Story, own_server: postgres.OwnServer) -> None:
    with load(story) as refused:
        for enough in (4, 12):
            eventually(lambda: n_finished(story) >= enough)  # noqa: B023
            own_server.crash()
            n_before = len(refused)
            eventually(lambda: len(refused) > n_before)  # noqa: B023
            own_server.start()
    assert_whole(story)


@pytest.mark.slow
def test_f29_connections_cut_under_load_lose_nothing(story: Story, own_server: postgres.OwnServer) -> None:
    database = story.world.engine.url.database
    with load(story), psycopg.connect(own_server.url, autocommit=True) as connection:
        for enough in range(3, 20, 3):
            eventually(lambda: n_finished(story) >= enough)  # noqa: B023
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database,))
    assert_whole(story)


def test_f21_a_postgresql_that_does_not_answer_is_an_error_that_passes(
    story: Story, own_server: postgres.OwnServer
) -> None:
    held = story.take()
    story.report(held, 1, 0.5)
    story.world.engine.dispose()  # what is connected waits; who connects now is told soon
    with stopped(own_server.pid), pytest.raises(Unavailable, match="timeout"):
        actors.telling(held, actors.result("trial", actors.STEADY)).call(story.world.services[0])
    assert story.tell(held).replayed is False
    story.holds()


def test_f21_nobody_waits_for_ever_for_a_connection() -> None:
    plain, chosen = (open_engine(f"postgresql://h/d{query}").url.query for query in ("", "?connect_timeout=2"))
    assert (plain["connect_timeout"], plain["tcp_user_timeout"]) == ("10", "30000")
    assert (chosen["connect_timeout"], chosen["tcp_user_timeout"]) == ("2", "30000")
