"""Stock Optuna beside `load.py`: the `optuna` command line and optuna-dashboard read the live database."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from types import TracebackType
from typing import Any, Self

PAUSE_SECONDS = 0.5
"""Between two looks at the dashboard."""
COMMANDS = ("studies", "trials", "best-trial")
OPTUNA = "import sys; from optuna.cli import main; sys.exit(main())"
DASHBOARD = "import sys; from optuna_dashboard._cli import main; sys.exit(main())"


class Readers:
    """As long as the block lasts, one reader of each kind reads, and nobody writes."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ended = threading.Event()
        self._counts = {"optuna": 0, "dashboard": 0}
        self._errors: list[str] = []

    def __enter__(self) -> Self:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._port = listener.getsockname()[1]
        serve = [sys.executable, "-c", DASHBOARD, self._url, "--port", str(self._port)]
        self._dashboard = subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # a short load would be over before it has started
        while not self._answers() and self._dashboard.poll() is None:
            time.sleep(0.1)
        self._threads = [threading.Thread(target=loop) for loop in (self._run_optuna, self._get_dashboard)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._dashboard.kill()
        self._dashboard.wait()

    def figures(self) -> dict[str, Any]:
        return {"reads": self._counts, "errors": self._errors[:5]}

    def _run_optuna(self) -> None:
        while not self._ended.is_set():
            for command in COMMANDS:
                study = [] if command == "studies" else ["--study-name", "load"]
                arguments = [command, "--storage", self._url, *study, "--format", "json"]
                done = subprocess.run([sys.executable, "-c", OPTUNA, *arguments], capture_output=True, text=True)
                # before the first trial has ended there is no best one
                if done.returncode == 0:
                    self._counts["optuna"] += 1
                elif "No trials are completed yet" not in done.stderr:
                    self._errors.append(f"optuna {command}: {done.stderr[-300:]}")

    def _get_dashboard(self) -> None:
        while not self._ended.is_set():
            try:
                (study,) = self._get("/api/studies")["study_summaries"]
                self._get(f"/api/studies/{study['study_id']}?after=0")
                self._counts["dashboard"] += 2
            except OSError as error:
                self._errors.append(f"dashboard: {error}")
            self._ended.wait(PAUSE_SECONDS)

    def _answers(self) -> bool:
        try:
            self._get("/api/studies")
        except OSError:
            return False
        return True

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=120) as answer:
            return json.load(answer)
