"""F08 and F13: service processes that are killed again and again, or are several on one database."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.describe_study import show_study
from service.lifecycle.studies.plan_study import plan_study
from service.store.sql.engine import DatabaseClock, open_engine
from service.store.store import Store
from tests.faults.processes import Service, eventually, service_of
from tests.faults.wire import NAME, Far, engine_of, search, work

GOOD = [{"evaluate": 0.5}, {"evaluate": 0.4, "final": True}]


@contextmanager
def seen(service: Service) -> Iterator[Far]:
    """The service's database, and where it listens."""
    engine = open_engine(service.settings.database)
    yield Far(Store(engine, DatabaseClock()), service.port, service.settings)
    engine.dispose()


@pytest.mark.slow
def test_f08_a_service_killed_again_and_again_ends_its_study(tmp_path: Path, database_url: str) -> None:
    n_trials = 50
    with service_of(tmp_path / "home", database_url) as service:
        service.start()
        with seen(service) as far:
            create_study(far.store, plan_study(search(n_trials)))
            working = threading.Thread(target=work, args=(far, far.url, engine_of(tmp_path, {"*": GOOD})))
            working.start()
            for enough in range(4, n_trials, 4):
                eventually(lambda: show_study(far.store, NAME).n_finished >= enough)  # noqa: B023
                service.end()
                service.start()
            working.join()
            study = show_study(far.store, NAME)
            assert (study.state, study.trials.complete) == ("complete", n_trials)
            far.check()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_f13_a_second_service_on_one_home_does_not_start(tmp_path: Path, database_url: str) -> None:
    with service_of(tmp_path / "home", database_url) as first, service_of(tmp_path / "home", database_url) as second:
        first.start()
        second.start()
        assert second.process is not None
        assert second.process.exitcode == 1


def test_f13_two_services_on_one_database_share_a_study(tmp_path: Path, database_url: str) -> None:
    with ExitStack() as stack:
        services = [stack.enter_context(service_of(tmp_path / name, database_url, tmp_path)) for name in ("one", "two")]
        fars = [stack.enter_context(seen(service)) for service in services]
        for service in services:
            service.start()
        create_study(fars[0].store, plan_study(search(12)))
        engine = engine_of(tmp_path, {"*": GOOD})
        workers = [threading.Thread(target=work, args=(far, far.url, engine)) for far in fars]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        study = show_study(fars[1].store, NAME)
        assert (study.state, study.trials.complete, study.n_finished) == ("complete", 12, 12)
        fars[0].check()
