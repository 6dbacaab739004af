"""`spezia` beside a service that answers from a table, behind a real socket."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from typer.testing import CliRunner, Result

from service.settings import Settings
from spezia.cli.main import app
from spezia.common.home_lock import hold
from spezia.contract.failure import Failure
from spezia.contract.trial import TrialList
from tests.service.replies import ScriptedService, make_best, make_study, make_trial_reply

STUDY = """\
task: text-classification
model: {name: tiny}
data: {train: train.csv}
search_space:
  learning_rate: {type: float, low: 1e-6, high: 1e-3, log: true}
"""

Spezia = Callable[..., Result]
"""Runs the command with these arguments."""


@pytest.fixture
def service() -> ScriptedService:
    """A service that knows one finished study, ``toy``."""
    trials = [
        make_trial_reply(0),
        make_trial_reply(1, state="PRUNED", value=0.7, step=1, epoch=1.0),
        make_trial_reply(2, state="FAIL", value=None, failure=Failure(failure_class="diverged", message="NaN")),
    ]
    return ScriptedService(
        {
            "GET /v1/studies/toy": make_study(warnings=["a study's warning"]),
            "GET /v1/studies/toy/best": make_best(),
            "GET /v1/studies/toy/trials": TrialList(trials=list(trials), next_page_token=None),
            "POST /v1/studies": make_study(),
        }
    )


@pytest.fixture
def url(service: ScriptedService) -> Iterator[str]:
    """The address of the scripted service behind a socket."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = httpx2.Request(self.command, f"http://spezia.test{self.path}", content=body)
            reply = service.transport().handle_request(request)
            self.send_response(reply.status_code)
            self.send_header("Content-Length", str(len(reply.content)))
            if position := reply.headers.get("Log-Position"):
                self.send_header("Log-Position", position)
            self.end_headers()
            self.wfile.write(reply.content)

        do_POST = do_PATCH = do_DELETE = do_GET

        def log_message(self, *arguments: Any) -> None: ...

    class Server(ThreadingHTTPServer):
        def handle_error(self, *arguments: Any) -> None: ...

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def spezia(url: str, tmp_path: Path) -> Iterator[Spezia]:
    """The command, beside a study file; the scripted service holds its home."""
    settings = Settings(home=tmp_path / "home")
    (tmp_path / "toy.yaml").write_text(STUDY)

    def invoke(*arguments: object) -> Result:
        environment = {"SPEZIA_HOME": str(settings.home), "COLUMNS": "120"}
        return CliRunner().invoke(app, [str(argument) for argument in arguments], env=environment)

    with hold(settings.home) as held:
        held.announce(url, settings.database)
        yield invoke
