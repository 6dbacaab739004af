"""The engine's process, seen from the supervisor."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import fake_engine
from tests.fake_service import assignment
from trainer.messages import Ended, Hello, Work
from trainer.supervisor.engine_process import EngineProcess, Gone, WorkerBroken

ENGINE = [sys.executable, "-P", fake_engine.__file__]
SHOW_ENVIRONMENT = "import os; print(sorted(os.environ.items()), file=__import__('sys').stderr)"


@pytest.fixture
def kills() -> list[int]:
    return [0]


@pytest.fixture
def engine(tmp_path: Path, kills: list[int]) -> Iterator[EngineProcess]:
    (tmp_path / "script.json").write_text('{"trials": {"*": [{"signal": 9}]}}')
    command = [*ENGINE, "--script", str(tmp_path / "script.json")]
    engine = EngineProcess(command, count_oom_kills=lambda: kills[0])
    yield engine
    engine.kill()


def test_it_greets_and_works_until_killed(engine: EngineProcess) -> None:
    assert isinstance(engine.inbox.get(timeout=20), Hello)
    engine.send(Work(assignment=assignment("prepare"), directory=""))
    ended = engine.inbox.get(timeout=20)
    assert isinstance(ended, Ended)
    assert ended.facts == fake_engine.FACTS
    assert engine.is_alive
    engine.kill()
    assert not engine.is_alive
    engine.send(Work(assignment=assignment("prepare"), directory=""))  # nobody reads it, nobody minds


@pytest.mark.parametrize(("n_kills", "failure_class"), [(0, "exception"), (1, "host_out_of_memory")])
def test_kill_for_memory_is_told_from_other_kills(
    engine: EngineProcess, kills: list[int], n_kills: int, failure_class: str
) -> None:
    assert isinstance(engine.inbox.get(timeout=20), Hello)
    engine.send(Work(assignment=assignment(), directory=""))
    gone = engine.inbox.get(timeout=20)
    kills[0] += n_kills
    assert isinstance(gone, Gone)
    assert engine.bury(gone).failure_class == failure_class
    assert not engine.is_alive


def test_engine_gone_before_its_greeting_breaks_the_worker() -> None:
    engine = EngineProcess([sys.executable, "-c", "raise ImportError('no torch here')"])
    gone = engine.inbox.get(timeout=20)
    assert isinstance(gone, Gone)
    with pytest.raises(WorkerBroken, match=r"exited with code 1(.|\n)*no torch here"):
        engine.bury(gone)


def test_engine_gets_nothing_that_is_meant_for_the_supervisor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPEZIA_API_KEY", "secret")
    engine = EngineProcess([sys.executable, "-c", SHOW_ENVIRONMENT])
    assert isinstance(engine.inbox.get(timeout=20), Gone)
    shown = engine.log.take()
    assert "TOKENIZERS_PARALLELISM" in shown
    assert "SPEZIA" not in shown
    engine.kill()
