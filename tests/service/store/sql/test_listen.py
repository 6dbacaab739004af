"""A service hears of the work that another one on its database makes."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, Queue

import pytest
from sqlalchemy import Engine, text

from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.plan_study import plan_study
from service.lifecycle.studies.state_machine import pause
from service.store.sql import listen
from service.store.sql.engine import open_engine
from service.store.store import Store
from spezia.contract.study_spec import StudySpec
from tests import postgres
from tests.conftest import FakeClock
from tests.service.hand_worker import spec

SECONDS = 30.0


@pytest.fixture
def database_url(postgres_server: str, migrated_postgres: str) -> Iterator[str]:
    """A database of PostgreSQL, which alone carries words."""
    with postgres.database(postgres_server, template=migrated_postgres) as url:
        yield url


@contextmanager
def heard(engine: Engine) -> Iterator[Queue[str]]:
    """The words that come in, from the moment that somebody listens."""
    words: Queue[str] = Queue()
    ended = threading.Event()
    thread = threading.Thread(target=listen.listen, args=(engine, words.put, ended))
    thread.start()
    try:
        say_until_heard(engine, words, "hello")
        yield words
    finally:
        ended.set()
        thread.join()


def say_until_heard(engine: Engine, words: Queue[str], word: str) -> None:
    with engine.connect() as connection:
        heard = ""
        while heard != word:
            connection.execute(text(f"NOTIFY {listen.CHANNEL}, '{word}'"))
            connection.commit()
            with suppress(Empty):
                heard = words.get(timeout=0.1)


def next_word(words: Queue[str]) -> str:
    return next(word for word in iter(lambda: words.get(timeout=SECONDS), None) if word != "hello")


def test_work_is_told_with_its_commit_and_by_whom(engine: Engine, clock: FakeClock) -> None:
    store = Store(engine, clock)
    with heard(engine) as words:
        create_study(store, plan_study(StudySpec.model_validate(spec(name="told"))))
        assert next_word(words) == store.work.name
        with pytest.raises(RuntimeError, match="power cut"):
            _cut_short(store)
        pause(store, "told")
        assert next_word(words) == store.work.name
        assert words.empty(), "what was rolled back was not told"


def _cut_short(store: Store) -> None:
    with store.writing() as tx:
        tx.make_work()
        raise RuntimeError("power cut")


def test_words_are_heard_again_after_the_connection_was_cut(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listen, "RETRY_SECONDS", 0.01)
    with heard(engine) as words:
        with engine.connect() as connection:
            cut = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
            assert connection.execute(cut).scalars().all() == [True]
        say_until_heard(engine, words, "again")
    assert "not heard" in caplog.text


def test_a_service_wakes_its_workers_for_the_work_of_others_only(
    engine: Engine, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, other, ended = Store(engine, clock), Store(engine, clock), threading.Event()
    said: list[Callable[[str], None]] = []
    monkeypatch.setattr("service.store.store.listen", lambda _engine, hear, _ended: said.append(hear))
    store.listen(ended)
    for name in (store.work.name, other.work.name):
        said[0](name)
    assert store.work.mark() == 1


def test_on_sqlite_nobody_listens(tmp_path: object, clock: FakeClock) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/spezia.db")
    Store(engine, clock).listen(threading.Event())
    engine.dispose()
