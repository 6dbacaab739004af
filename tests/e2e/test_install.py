"""The wheel as people install it: alone, with the service, and with everything."""

import json
import os
import signal
import site
import subprocess
import sys
import venv
from collections.abc import Iterable
from importlib.metadata import distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from service.cli.local_service import local_service
from service.settings import Settings
from spezia.client import Client
from spezia.common.home_lock import find
from tests.e2e.test_kill import ROOT, eventually

FEEDBACK = ROOT / "examples" / "feedback"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class Installed:
    """A fresh virtual environment with nothing in it but the wheel."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.home = folder / "home"
        self._folder = folder / "venv"
        venv.create(self._folder, with_pip=False)
        [self.site] = (self._folder / "lib").glob("*/site-packages")
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        install = ["--python", self._folder / "bin" / "python", "install", "--no-index", "--no-deps", wheel]
        subprocess.run([*pip, *install], check=True)

    def link(self, *extras: str) -> None:
        """Bring in what the wheel requires, with these extras, and no more, from the environment of the tests."""
        [installed] = distributions(name="spezia", path=[str(self.site)])
        for name in required(installed.requires or [], extras):
            for top in {file.parts[0] for file in distribution(name).files or []} - {"..", "__pycache__"}:
                if not (link := self.site / top).exists():
                    link.symlink_to(distribution(name).locate_file(top))

    def borrow(self) -> None:
        """Bring in the whole environment of the tests; a `.pth` in it, such as an editable install's, is not read."""
        (self.site / "borrowed.pth").write_text("\n".join(site.getsitepackages()) + "\n")

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a program of the environment in its own folder, where no checkout is in the way."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("SPEZIA_", "PYTHON"))}
        return subprocess.Popen(
            [self._folder / "bin" / command[0], *command[1:]],
            cwd=self._folder,
            env=environment | {"SPEZIA_HOME": str(self.home), "COLUMNS": "120"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *command: str) -> tuple[int, str, str]:
        """Run a program to its end; its exit code, standard output and standard error."""
        with self.start(*command) as process:
            output, error = process.communicate()
        return process.returncode, output, error


def required(requirements: Iterable[str], extras: Iterable[str]) -> set[str]:
    """Names of all packages that requirements with these extras lead to, on this platform."""
    found: set[str] = set()
    waiting = [(Requirement(line), extra) for line in requirements for extra in ("", *extras)]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.name in found or (requirement.marker and not requirement.marker.evaluate({"extra": extra})):
            continue
        found.add(requirement.name)
        lines = distribution(requirement.name).requires or []
        waiting += [(Requirement(line), further) for line in lines for further in ("", *requirement.extras)]
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, ROOT], check=True)
    [built] = folder.glob("spezia-*.whl")
    return built


@pytest.fixture
def installed(tmp_path: Path, wheel: Path) -> Installed:
    return Installed(tmp_path, wheel)


def test_alone_it_is_the_command_line_for_a_service_elsewhere(installed: Installed, tmp_path: Path) -> None:
    installed.link()
    code, output, error = installed.run("spezia", "--help")
    assert (code, error) == (0, "")
    assert (installed.site / "spezia" / "py.typed").exists()
    assert all(f" {command} " in output for command in ("submit", "watch", "best", "serve", "run", "key"))
    with local_service(Settings(home=tmp_path / "elsewhere", n_workers=0), []) as (url, _):
        code, output, error = installed.run("spezia", "submit", str(FEEDBACK / "study.yaml"), "--server", url)
        assert (code, error) == (0, "")
        follow = f"spezia watch customer-feedback --server {url}"
        assert output.startswith(f"customer-feedback: running; follow it: {follow}\n")
        assert installed.run("spezia", "cancel", "customer-feedback", "--server", url)[0] == 0
    code, _, error = installed.run("spezia", "trials", "customer-feedback", "--server", url)
    assert (code, "no service answers" in error) == (1, True)


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["spezia", "serve"], "service"),
        (["spezia", "run", "study.yaml"], "service"),
        (["spezia", "key", "list"], "service"),
        (["spezia-worker", "--server", "http://127.0.0.1:9"], "trainer"),
    ],
)
def test_alone_it_says_what_is_missing(installed: Installed, command: list[str], extra: str) -> None:
    installed.link()
    code, output, error = installed.run(*command)
    assert (code, output) == (2, "")
    assert f"pip install 'spezia[{extra}]'" in error
    assert "Traceback" not in error


def test_with_the_service_it_serves_workers_elsewhere(installed: Installed) -> None:
    installed.link("service")
    code, _, error = installed.run("spezia", "serve", "--port", "0")
    assert code == 2
    assert "serve without --workers 0 needs torch, which is not installed: pip install 'spezia[trainer]'" in error
    with installed.start("spezia", "serve", "--port", "0", "--workers", "0") as serving:
        running = eventually(lambda: find(installed.home))
        with Client(running.url) as client:
            assert list(client.list_studies()) == []
        serving.send_signal(signal.SIGTERM)
        serving.communicate()
    assert serving.returncode == 0


def test_with_everything_it_runs_the_example(installed: Installed, tmp_path: Path) -> None:
    installed.borrow()
    code, output, _ = installed.run("python", "-c", "import service, spezia, trainer; print(trainer.__file__)")
    assert (code, output) == (0, f"{installed.site / 'trainer' / '__init__.py'}\n")
    code, output, error = installed.run("spezia", "run", str(small_example(tmp_path)), "--workers", "1", "--json")
    assert code == 0, error
    best = json.loads(output)
    assert best["study"] == "small"
    assert best["trials"]["complete"] == 3
    assert Path(best["model_directory"]).is_relative_to(installed.home)


def small_example(folder: Path) -> Path:
    """A copy of the example of the README, outside the checkout, with few rows and three short trials."""
    for split in ("train", "validation", "test"):
        lines = (FEEDBACK / f"{split}.csv").read_text().splitlines(keepends=True)
        (folder / f"{split}.csv").write_text("".join(lines[:61]))
    text = (FEEDBACK / "study.yaml").read_text()
    for old, new in {
        "name: customer-feedback": "name: small",
        "epochs: {type: int, low: 2, high: 4}": "epochs: {type: int, low: 1, high: 2}",
        "n_trials: 8": "n_trials: 3",
        "epochs: 4,": "epochs: 2,",
    }.items():
        assert old in text
        text = text.replace(old, new)
    study = folder / "study.yaml"
    study.write_text(text)
    return study
