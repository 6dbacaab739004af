from pathlib import Path

import pytest
from pydantic import ValidationError

from service.settings import Settings
from spezia.client.address import address
from spezia.common.home_lock import hold, url_from_here


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPEZIA_HOME", str(tmp_path))
    return tmp_path


def test_a_given_address_is_taken_as_it_is() -> None:
    assert address("https://elsewhere:1") == "https://elsewhere:1"


def test_the_service_of_the_home_folder_is_found(home: Path) -> None:
    with hold(home) as held:
        held.announce("http://127.0.0.1:1234", "sqlite://")
        assert address(None) == "http://127.0.0.1:1234"


@pytest.mark.parametrize("said", [{}, {"SPEZIA_HOST": "192.0.2.7"}, {"SPEZIA_PORT": "9"}, {"SPEZIA_HOST": "::1"}])
def test_where_no_service_runs_the_address_is_the_one_that_serve_would_listen_on(
    monkeypatch: pytest.MonkeyPatch, said: dict[str, str]
) -> None:
    for variable, value in said.items():
        monkeypatch.setenv(variable, value)
    settings = Settings()
    assert address(None) == url_from_here(settings.host, settings.port)


def test_a_port_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEZIA_PORT", "many")
    with pytest.raises(ValidationError, match="port"):
        address(None)
