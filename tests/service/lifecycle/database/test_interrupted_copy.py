"""A copy to PostgreSQL whose process is killed at any point, and one of a large database."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select

from benchmarks.pages_api import fill
from service.failpoints import arm_from
from service.files.folder_files import FolderFiles
from service.lifecycle.database.copy_database import Copied, copy_database
from service.lifecycle.studies.create_study import create_study
from service.lifecycle.studies.plan_study import plan_study
from service.settings import sqlite_url
from service.store.copy_rows import all_tables, first_difference, is_empty
from service.store.optuna.tables import trials
from service.store.sql.engine import DatabaseClock, open_engine
from service.store.sql.migrate import migrate
from service.store.store import Store
from spezia.contract.study_spec import StudySpec
from tests import postgres
from tests.forks import FORKS
from tests.service.hand_worker import spec

TABLES = len(all_tables())


@contextmanager
def opened(url: str) -> Iterator[Store]:
    engine = open_engine(url)
    migrate(engine)
    yield Store(engine, DatabaseClock())
    engine.dispose()


def copy(source_url: str, target_url: str, files: Path) -> Copied:
    with opened(source_url) as source, opened(target_url) as target:
        return copy_database(source, target, FolderFiles(files), FolderFiles(files))


def copy_until(failpoints: str, source_url: str, target_url: str, files: Path) -> None:
    arm_from(failpoints)
    copy(source_url, target_url, files)


@pytest.mark.slow
def test_a_copy_that_is_killed_at_any_point_completes_when_it_is_made_again(
    postgres_server: str, tmp_path: Path
) -> None:
    source_url = sqlite_url(tmp_path / "spezia.db")
    with opened(source_url) as source:
        create_study(source, plan_study(StudySpec.model_validate(spec())))
    with postgres.database(postgres_server) as target_url:
        for failpoints in ("copy.table=kill@1", f"copy.table=kill@{TABLES}", "copy.before_commit=kill"):
            process = FORKS.Process(target=copy_until, args=(failpoints, source_url, target_url, tmp_path))
            process.start()
            process.join(60)
            assert process.exitcode == -signal.SIGKILL
            with opened(target_url) as target, target.reading() as tx:
                assert is_empty(tx.connection)
        assert copy(source_url, target_url, tmp_path).n_rows["studies"] == 1
        assert copy(source_url, target_url, tmp_path).n_rows == {}, "all is there"


@pytest.mark.slow
def test_a_database_of_ten_thousand_trials_is_equal_afterwards(postgres_server: str, tmp_path: Path) -> None:
    source_url = sqlite_url(tmp_path / "spezia.db")
    with opened(source_url) as source:
        fill(source, 10_000, 5)
    with postgres.database(postgres_server) as target_url:
        n_rows = copy(source_url, target_url, tmp_path).n_rows
        with (
            opened(source_url) as source,
            opened(target_url) as target,
            source.reading() as one,
            target.reading() as two,
        ):
            assert first_difference(one.connection, two.connection) is None
            counted = {
                table.name: two.connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in all_tables()
            }
    assert counted == n_rows
    assert n_rows[trials.name] == 10_000
