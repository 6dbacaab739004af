"""Our schema, and databases that stock Optuna wrote before us."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from multiprocessing.synchronize import Barrier
from pathlib import Path

import optuna
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, MetaData, column, inspect, select, table, text

import migrations
from service.errors import Unavailable
from service.store import studies, study_summaries, webhooks
from service.store.optuna import tables as optuna_tables
from service.store.optuna.storage import SqlStorage
from service.store.sql import webhook_tables
from service.store.sql.engine import open_engine
from service.store.sql.migrate import VERSION_TABLE, NewerDatabase, is_current, migrate, revision_of
from service.store.sql.sqlite import WRITING
from service.store.sql.statements import Runner
from service.store.sql.tables import Instant, study_spec, study_summary
from service.store.store import Store
from service.store.work import studies_with_work
from spezia.contract.study_spec import StudySpec
from tests import postgres
from tests.conftest import START, FakeClock
from tests.forks import FORKS
from tests.service.hand_worker import FACTS, spec
from tests.stock import stock_storage


@contextmanager
def stock_study(url: str) -> Iterator[optuna.Study]:
    sampler = optuna.samplers.RandomSampler(seed=0)
    with stock_storage(url) as storage:
        yield optuna.create_study(storage=storage, study_name="stock", sampler=sampler, load_if_exists=True)


def write_with_stock_optuna(url: str) -> None:
    with stock_study(url) as study:
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)


def columns(engine: Engine, table: str) -> dict[str, tuple[str, bool]]:
    return {
        column["name"]: (str(column["type"]), bool(column["nullable"])) for column in inspect(engine).get_columns(table)
    }


def test_the_migrations_give_exactly_the_tables_in_code(engine: Engine) -> None:
    both = MetaData()
    for metadata in (optuna_tables.metadata, webhook_tables.metadata):
        for one in metadata.tables.values():
            one.to_metadata(both)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
        assert compare_metadata(context, both) == []


def test_our_schema_is_optunas_column_by_column(engine: Engine, empty_database: str) -> None:
    write_with_stock_optuna(empty_database)
    stock = open_engine(empty_database)
    names = inspect(stock).get_table_names()
    assert set(names) == set(optuna_tables.metadata.tables)
    if stock.dialect.name == engine.dialect.name:
        assert {name: columns(engine, name) for name in names} == {name: columns(stock, name) for name in names}
    stock.dispose()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("studies", r"a table studies that is not Optuna's, without the columns study_id, study_name; give an empty"),
        ("alembic_version", "not Optuna's, without the columns version_num; give an empty"),
        ("lease", r"does not take the schema .*lease.*: give an empty database"),
    ],
)
def test_a_database_with_a_table_of_another_program_is_refused_as_it_is(
    empty_database: str, name: str, why: str
) -> None:
    engine = open_engine(empty_database)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE {name} (professor text)"))
    with pytest.raises(ValueError, match=why):
        migrate(engine)
    assert inspect(engine).get_table_names() == [name]
    engine.dispose()


def test_a_user_who_may_do_nothing_is_told_so(migrated_postgres: str) -> None:
    with postgres.a_user_without_rights(migrated_postgres) as url:
        engine = open_engine(url)
        with pytest.raises(ValueError, match=r"permission denied .*: give an empty database, and a user who may"):
            migrate(engine)
        with (
            pytest.raises(Unavailable, match="permission denied"),
            closing(Store(engine, FakeClock())) as store,
            store.reading() as tx,
        ):
            revision_of(tx.connection)


def test_we_open_a_database_that_stock_optuna_wrote(empty_database: str) -> None:
    write_with_stock_optuna(empty_database)
    engine = open_engine(empty_database)
    migrate(engine)
    with engine.begin() as connection:
        assert is_current(connection)
        storage = SqlStorage(Runner(connection))
        trials = storage.get_all_trials(storage.get_study_id_from_name("stock"))
        assert [trial.number for trial in trials] == [0, 1, 2]
        assert all(trial.value == trial.params["x"] for trial in trials)
    engine.dispose()
    with stock_study(empty_database) as study:
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
        assert len(study.trials) == 4


def test_migrating_again_changes_nothing(engine: Engine) -> None:
    migrate(engine)
    with engine.connect() as connection:
        assert is_current(connection)


def test_a_database_of_a_newer_version_is_refused_and_unchanged(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(NewerDatabase, match=r"migration 9999; .*pip install --upgrade spezia.*spezia db restore"):
        migrate(engine)
    with engine.connect() as connection:
        assert revision_of(connection) == "9999"


def test_a_database_that_does_not_answer_is_unavailable() -> None:
    engine = open_engine("postgresql://me:hunter2@127.0.0.1:9/none")
    with pytest.raises(Unavailable, match="the database does not answer") as raised:
        migrate(engine)
    assert "hunter2" not in str(raised.value)


def _migrate_at(url: str, begins: Barrier) -> None:
    engine = open_engine(url)
    begins.wait()
    migrate(engine)
    with engine.connect() as connection:
        assert is_current(connection)
    engine.dispose()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_that_start_at_once_on_an_empty_database_all_find_it_migrated(
    kind: str, postgres_server: str, tmp_path: Path
) -> None:
    for number in range(20):
        begins = FORKS.Barrier(3)
        with ExitStack() as stack:
            sqlite, server = f"sqlite:///{tmp_path / f'{number}.db'}", postgres.database(postgres_server)
            url = sqlite if kind == "sqlite" else stack.enter_context(server)
            processes = [FORKS.Process(target=_migrate_at, args=(url, begins)) for _ in range(3)]
            for process in processes:
                process.start()
            for process in processes:
                process.join(60)
            assert [process.exitcode for process in processes] == [0, 0, 0]


def migrate_to(engine: Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__path__[0])))
    with engine.connect().execution_options(**{WRITING: True}) as connection, connection.begin():
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_studies_from_before_deadlines_get_theirs(empty_database: str) -> None:
    engine = open_engine(empty_database)
    migrate_to(engine, "0006")
    names = ("uuid", "study_id", "spec", "state", "is_scored", "warnings", "created_at")
    old_studies = table("study_spec", *(column(name, study_spec.c[name].type) for name in names))
    events = table("event", *(column(name) for name in ("study_uuid", "kind", "payload")), column("at", Instant()))
    later = START + timedelta(hours=1)
    with engine.begin() as connection:
        for number, (state, timeout) in enumerate([("running", None), ("running", 60.0), ("paused", 90.5)]):
            old_spec = json.dumps({"timeout_seconds": timeout, "n_trials": 3})
            row = {"uuid": str(number), "study_id": number, "spec": old_spec}
            row |= {"state": state, "is_scored": False, "warnings": [], "created_at": START}
            connection.execute(old_studies.insert(), row)
            for at, kind in ((START, "study"), (later, "study"), (later + timedelta(hours=1), "trial")):
                event = {"study_uuid": str(number), "kind": kind, "payload": "{}", "at": at}
                connection.execute(events.insert(), event)
    migrate(engine)
    with engine.connect() as connection:
        clocks = select(study_spec.c["deadline", "paused_at", "paused_seconds"]).order_by(study_spec.c.uuid)
        assert [tuple(row) for row in connection.execute(clocks)] == [
            (None, None, 0.0),
            (START + timedelta(seconds=60), None, 0.0),
            (START + timedelta(seconds=90.5), later, 0.0),
        ]
    engine.dispose()


def test_studies_from_before_their_limits_had_columns_get_them(empty_database: str, clock: FakeClock) -> None:
    engine = open_engine(empty_database)
    migrate_to(engine, "0007")
    names = ("uuid", "study_id", "spec", "state", "is_scored", "warnings", "created_at", "facts")
    old_studies = table("study_spec", *(column(name, study_spec.c[name].type) for name in names))
    common = {"state": "running", "is_scored": False, "warnings": [], "created_at": START}
    with engine.begin() as connection:
        for number, changes in enumerate([{"n_trials": 1}, {"n_trials": 7, "n_parallel": 2}]):
            name = {"study_name": f"study-{number}"}
            study_id = connection.execute(
                optuna_tables.studies.insert().values(name).returning(optuna_tables.studies.c.study_id)
            ).scalar_one()
            old_spec = StudySpec.model_validate(spec(name=f"study-{number}", **changes)).model_dump_json()
            row = {"uuid": str(number), "study_id": study_id, "spec": old_spec, "facts": FACTS}
            connection.execute(old_studies.insert(), row | common)
    migrate(engine)
    store = Store(engine, clock)
    with store.reading() as tx:
        found = tx.ask(studies_with_work(tx.now))
        assert [uuid for _, uuid in found] == ["0", "1"]
        first, second = [tx.ask(studies.by_id(tx.caches.studies, study_id)) for study_id, _ in found]
        limits = select(study_spec.c["n_trials", "n_parallel"]).order_by(study_spec.c.uuid)
        assert [tuple(row) for row in tx.connection.execute(limits)] == [(1, None), (7, 2)]
    assert first is not None
    assert second is not None
    assert (first.spec.n_trials, second.spec.n_trials, second.spec.n_parallel) == (1, 7, 2)
    engine.dispose()


def test_webhooks_from_before_know_what_they_have_yet_to_tell(empty_database: str, clock: FakeClock) -> None:
    """One study was told of in part, one not at all, one to its end."""
    engine = open_engine(empty_database)
    migrate_to(engine, "0008")
    with engine.begin() as connection:
        for number, name in enumerate(("some", "none", "all")):
            row = f"'{name}', {number}, '{{}}', 'running', false, '[]', '2026-11-22 12:00:00'"
            columns = "uuid, study_id, spec, state, is_scored, warnings, created_at"
            connection.execute(text(f"INSERT INTO study_spec ({columns}) VALUES ({row})".replace(":", "\\:")))
            for kind in ("study", "trial", "value"):
                event = f"'{name}', '{kind}', '{{}}', '2026-11-22 12:00:00'"
                columns = "study_uuid, kind, payload, at"
                connection.execute(text(f"INSERT INTO event ({columns}) VALUES ({event})".replace(":", "\\:")))
        added = "'w', 'https://example.org', 's', '[]', '2026-11-22 12:00:00', 0, '2026-11-22 12:00:00'"
        columns = "webhook_id, url, secret, events, created_at, n_failures, next_attempt_at"
        connection.execute(text(f"INSERT INTO webhook ({columns}) VALUES ({added})".replace(":", "\\:")))
        connection.execute(text("INSERT INTO webhook_progress VALUES ('w', 'some', 1), ('w', 'all', 9)"))
    migrate(engine)
    with engine.connect() as connection:
        known = text("SELECT study_uuid, sequence, latest FROM webhook_progress ORDER BY study_uuid")
        assert [tuple(row) for row in connection.execute(known)] == [("all", 9, 8), ("none", 0, 5), ("some", 1, 2)]
    with Store(engine, clock).reading() as tx:
        assert webhooks.due(tx) == ["w"]
    engine.dispose()


def test_studies_from_before_summaries_are_told_by_their_trials(empty_database: str, clock: FakeClock) -> None:
    engine = open_engine(empty_database)
    migrate_to(engine, "0010")
    with engine.begin() as connection:
        for uuid in ("some", "none"):
            columns = "uuid, study_id, spec, state, is_scored, warnings, created_at"
            row = f"'{uuid}', {len(uuid)}{ord(uuid[0])}, '{{}}', 'running', false, '[]', '2026-11-22 12:00:00'"
            connection.execute(text(f"INSERT INTO study_spec ({columns}) VALUES ({row})".replace(":", "\\:")))
        for number in (1, 2):
            columns = "lease_id, study_uuid, kind, number, attempt, worker_id, device, started_at, is_counted"
            row = f"'{number}', 'some', 'trial', {number}, 1, 'w', 'cpu', '2026-11-22 12:00:00', true"
            insert = f"INSERT INTO attempt ({columns}, device_seconds) VALUES ({row}, 1.5)"
            connection.execute(text(insert.replace(":", "\\:")))
    migrate(engine)
    with engine.connect() as connection:
        known = select(study_summary.c["study_uuid", "device_seconds", "is_stale"]).order_by("study_uuid")
        assert [tuple(row) for row in connection.execute(known)] == [("none", 0.0, True), ("some", 3.0, True)]
    with Store(engine, clock).reading() as tx:
        assert sorted(study_summaries.stale(tx, 100)) == ["none", "some"]
    engine.dispose()


def test_duplicate_trial_numbers_are_named(empty_database: str) -> None:
    write_with_stock_optuna(empty_database)
    engine = open_engine(empty_database)
    with engine.begin() as connection:
        connection.execute(text("UPDATE trials SET number = 1 WHERE number = 2"))
    with pytest.raises(ValueError, match=r"study 'stock' number 1 \(2 trials\)"):
        migrate(engine)
    assert VERSION_TABLE not in inspect(engine).get_table_names()
    engine.dispose()


def test_another_schema_of_optuna_is_refused(empty_database: str) -> None:
    write_with_stock_optuna(empty_database)
    engine = open_engine(empty_database)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'v9.9.9.a'"))
    with pytest.raises(ValueError, match="optuna storage upgrade"):
        migrate(engine)
    engine.dispose()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://localhost/x"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        open_engine(url)


def test_migrations_are_found_in_a_folder_of_any_name(tmp_path: Path) -> None:
    installed = tmp_path / "100%(x)s"
    installed.mkdir()
    root = Path(__file__).parent.parent.parent.parent.parent
    for package in ("service", "spezia", "migrations"):
        (installed / package).symlink_to(root / package)
    program = f"""
import sys
sys.path.insert(0, {str(installed)!r})
from pathlib import Path
import migrations
from service.errors import Unavailable
from service.store import studies, webhooks
from service.app import create_app
from service.settings import Settings
assert migrations.__path__[0].startswith({str(installed)!r})
create_app(Settings(home=Path({str(tmp_path / "home")!r}), n_workers=0)).state.parts.store.close()
"""
    done = subprocess.run([sys.executable, "-P", "-c", program], env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
