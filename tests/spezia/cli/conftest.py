from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.replies import ScriptedService
from tests.spezia_command import Spezia, command_beside, listening, service_of_toy


@pytest.fixture
def service() -> ScriptedService:
    return service_of_toy()


@pytest.fixture
def url(service: ScriptedService) -> Iterator[str]:
    with listening(service) as url:
        yield url


@pytest.fixture
def spezia(url: str, tmp_path: Path) -> Iterator[Spezia]:
    with command_beside(url, tmp_path) as spezia:
        yield spezia
