"""`spezia-worker --devices`: real processes with a scripted engine, beside a service in memory."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from typer.testing import CliRunner

from spezia.contract.problem import Code
from tests import fake_engine
from tests.e2e.test_kill import parent_of
from tests.fake_service import FakeService, assignment, problem, served
from tests.faults.processes import SECONDS, eventually, is_dead
from trainer.cli import app
from trainer.several_devices import CALLED_WRONGLY, BadDevices, parse_devices, work_on_devices
from trainer.supervisor.supervisor import REFUSED

GPUS = {"CUDA_VISIBLE_DEVICES": "0,3"}


@pytest.fixture
def service() -> FakeService:
    return FakeService(assignment(number=0), assignment(number=1))


@pytest.fixture
def start(service: FakeService, tmp_path: Path) -> Iterator["Start"]:
    with ExitStack() as stack:
        yield Start(tmp_path, stack.enter_context(served(service)), stack)


class Start:
    """Starts `spezia-worker` with trials that never end."""

    def __init__(self, folder: Path, server: str, stack: ExitStack) -> None:
        self._folder = folder
        self._server = server
        self._stack = stack
        hang = {str(number): [{"pid": str(folder / f"engine-{number}")}, {"hang": True}] for number in (0, 1)}
        (folder / "script.json").write_text(json.dumps({"trials": hang}))

    def __call__(self, *options: str, environment: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        script = str(self._folder / "script.json")
        engine = shlex.join([sys.executable, "-P", fake_engine.__file__, "--script", script])
        command = [sys.executable, "-P", "-m", "trainer.cli", "--server", self._server, "--engine", engine]
        command += ["--checkpoint-dir", str(self._folder / "checkpoints"), *options]
        log = self._stack.enter_context((self._folder / "log").open("wb"))
        process = subprocess.Popen(command, env={**os.environ, **(environment or {})}, stderr=log)
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        return process

    def engines(self) -> list[int]:
        files = [self._folder / f"engine-{number}" for number in (0, 1)]
        eventually(lambda: all(file.exists() and file.read_text() for file in files))
        return [int(file.read_text()) for file in files]

    def log(self) -> str:
        return (self._folder / "log").read_text()


@pytest.mark.slow
def test_each_device_has_a_worker_and_all_give_their_trials_back_together(service: FakeService, start: Start) -> None:
    process = start("--devices", "3,cpu", environment=GPUS)
    engines = start.engines()
    seen = {Path(f"/proc/{parent_of(engine)}/environ").read_bytes() for engine in engines}
    visible = {line.decode() for one in seen for line in one.split(b"\0") if line.startswith(b"CUDA_VISIBLE")}
    assert visible == {"CUDA_VISIBLE_DEVICES=3", "CUDA_VISIBLE_DEVICES="}
    assert len({worker["worker_id"] for worker in service.workers}) == 2
    process.send_signal(signal.SIGTERM)
    assert process.wait(SECONDS) == 0
    assert service.released == ["preempted", "preempted"]
    assert all(is_dead(engine) for engine in engines)


@pytest.mark.slow
def test_a_worker_that_dies_is_told_of_and_replaced_and_the_other_goes_on(service: FakeService, start: Start) -> None:
    start("--devices", "cpu,cpu")
    first, second = start.engines()
    os.kill(parent_of(first), signal.SIGKILL)
    eventually(lambda: len(service.workers) == 3)
    assert "on the CPU ended with code -9; another one starts in 1 s" in start.log()
    assert not is_dead(second)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "code"), [(401, Code.UNAUTHORIZED), (409, Code.PROTOCOL_TOO_OLD)], ids=["wrong key", "other version"]
)
def test_what_the_service_refuses_to_one_ends_them_all(
    service: FakeService, start: Start, status: int, code: Code
) -> None:
    service.fault = lambda request: problem(status, code)
    assert start("--devices", "cpu,cpu").wait(SECONDS) == REFUSED
    assert "the service does not let this worker in" in start.log()


@pytest.mark.slow
def test_nothing_is_left_when_the_launcher_is_killed(start: Start) -> None:
    process = start("--devices", "cpu,cpu")
    engines = start.engines()
    process.kill()
    eventually(lambda: all(is_dead(engine) for engine in engines))


@pytest.mark.slow
def test_a_worker_says_for_which_service_it_waits(start: Start, service: FakeService) -> None:
    def hang_up(request: object) -> None:
        raise ConnectionError("hung up")

    service.fault = hang_up
    start()
    eventually(lambda: "no answer of http://127.0.0.1:" in start.log())
    assert "trying again in" in start.log()


@pytest.mark.slow
def test_a_key_file_that_is_open_to_others_starts_nothing(start: Start, service: FakeService, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("spz_")
    (tmp_path / "key").chmod(0o644)
    assert start("--key-file", str(tmp_path / "key")).wait(SECONDS) == 2
    assert service.calls == []


class Planned:
    """Two workers that end with a code."""

    n_workers = 2

    def __init__(self, exit_code: int) -> None:
        self._exit_code = exit_code

    def command(self, worker_id: str) -> list[str]:
        return [sys.executable, "-S", "-c", f"raise SystemExit({self._exit_code})"]

    def environment_of(self, slot: int, key: str) -> dict[str, str]:
        return {"CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_signals")
@pytest.mark.parametrize("exit_code", [REFUSED, CALLED_WRONGLY])
def test_what_would_go_wrong_again_ends_all_workers(exit_code: int) -> None:
    assert work_on_devices(Planned(exit_code), None) == exit_code


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("1", "there is no device '1'; this machine has 0, 3, cpu"),
        ("0,,3", "there is no device ''"),
        ("0,0", "device '0' is named twice"),
    ],
)
def test_a_device_that_a_worker_cannot_have_is_named(named: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    with pytest.raises(BadDevices, match=message):
        parse_devices(named)


@pytest.mark.parametrize("option", [("--idle-seconds", "1"), ("--worker-id", "0" * 32)], ids=lambda option: option[0])
def test_what_one_worker_alone_can_have_is_refused_to_several(option: tuple[str, str]) -> None:
    refused = CliRunner().invoke(app, ["--server", "http://there", "--devices", "cpu,cpu", *option])
    assert refused.exit_code == CALLED_WRONGLY
    assert option[0] in refused.output
    assert "drop it" in refused.output


def test_devices_are_gpus_of_this_machine_or_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert parse_devices("3, 0") == ["3", "0"]
    assert parse_devices("cpu,cpu") == ["cpu", "cpu"]
