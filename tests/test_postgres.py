"""The database that tests on PostgreSQL use one after the other."""

from contextlib import closing

import psycopg
import pytest

from tests.postgres import ReusedDatabase

ADD = "INSERT INTO database_identity (identity_id, uuid) VALUES (1, 'a')"
COUNT = "SELECT count(*) FROM database_identity"


def test_rows_and_connections_that_a_test_has_left_are_gone_for_the_next(reused_postgres: ReusedDatabase) -> None:
    with reused_postgres.lent() as url:
        with psycopg.connect(url) as connection:
            connection.execute(ADD)
        forgotten = psycopg.connect(url)
        forgotten.execute("LOCK TABLE database_identity")
    with closing(forgotten), reused_postgres.lent() as again, psycopg.connect(again) as connection:
        assert again == url
        assert connection.execute(COUNT).fetchone() == (0,)
        with pytest.raises(psycopg.OperationalError):
            forgotten.execute("SELECT 1")


@pytest.mark.parametrize(
    "deed", ["CREATE TABLE other (id int)", "DROP TABLE dataset", "UPDATE spezia_alembic_version SET version_num = '1'"]
)
def test_a_database_that_a_test_has_made_another_is_lent_to_no_other_test(
    reused_postgres: ReusedDatabase, deed: str
) -> None:
    with reused_postgres.lent() as url, psycopg.connect(url) as connection:
        connection.execute(deed)
    with reused_postgres.lent() as another:
        assert another != url
