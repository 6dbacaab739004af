"""Settings: where the database is that they name."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy import make_url

from service.app import create_app
from service.settings import Settings


@pytest.mark.parametrize("name", ["why?", "a?mode=memory", "a#b", "100%41", "two words", "größer", "[x]", "a&b;c'd"])
def test_the_database_lies_in_the_home_folder_whatever_that_is_called(name: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / name, n_workers=0)
    create_app(settings).state.parts.store.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "spezia.db").stat().st_size > 0


def test_a_password_comes_from_a_file_whatever_it_is_made_of(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p@ss/w:rd?#%\n")
    for address in ("postgres:5432/spezia", "/spezia?host=/run/postgres"):
        settings = Settings(
            database_url=f"postgresql+psycopg://spezia@{address}", database_password_file=tmp_path / "password"
        )
        url = make_url(settings.database)
        assert (url.username, url.password, url.database) == ("spezia", "p@ss/w:rd?#%", "spezia")
        assert "p@ss" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "file", "message"),
    [
        (None, "password", "names a user and no password"),
        ("postgresql://host/spezia", "password", "names a user and no password"),
        ("postgresql://spezia:other@host/spezia", "password", "names a user and no password"),
        ("postgresql://spezia@host/spezia", "none", "cannot be read"),
    ],
)
def test_a_password_that_belongs_to_nobody_is_refused(url: str | None, file: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("secret")
    with pytest.raises(ValidationError, match=message):
        Settings(database_url=url, database_password_file=tmp_path / file)


@pytest.mark.parametrize(
    ("url", "connections", "message"),
    [
        (None, 60, "several processes need PostgreSQL"),
        ("sqlite:///spezia.db", 60, "several processes need PostgreSQL"),
        ("postgresql://host/spezia", 14, "3 processes need at least 15 connections"),
    ],
)
def test_processes_that_the_database_cannot_bear_are_refused(url: str | None, connections: int, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings(database_url=url, database_connections=connections, processes=3)


@pytest.mark.parametrize(("processes", "each"), [(1, 60), (3, 20)])
def test_processes_share_the_connections_out(
    processes: int, each: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_url: str, max_connections: int) -> None:
        raise ValueError(f"{max_connections} connections")

    monkeypatch.setattr("service.app.open_engine", refuse)
    with pytest.raises(ValueError, match=f"^{each} connections$"):
        create_app(Settings(home=tmp_path, database_url="postgresql://host/spezia", processes=processes))
