"""Settings: where the database is that they name."""

from pathlib import Path

import pytest

from service.app import create_app
from service.settings import Settings


@pytest.mark.parametrize("name", ["why?", "a?mode=memory", "a#b", "100%41", "two words", "größer", "[x]", "a&b;c'd"])
def test_the_database_lies_in_the_home_folder_whatever_that_is_called(name: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / name, n_workers=0)
    create_app(settings).state.parts.store.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name / "spezia.db").stat().st_size > 0
