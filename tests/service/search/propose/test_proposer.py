import os
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from service.metrics import Metrics
from service.search import requirements
from service.search.propose.proposer import Proposer
from service.search.requirements import missing_requirement, refused_options
from tests.service.search.builders import History, make_spec

needs_torch = pytest.mark.skipif(
    missing_requirement(make_spec(sampler={"name": "gp"})) is not None, reason="torch is not installed"
)


@pytest.fixture(scope="module")
def proposer() -> Iterator[Proposer]:
    proposer = Proposer(Metrics())
    yield proposer
    proposer.close()


@pytest.fixture(scope="module")
def others() -> set[BaseProcess]:
    """Processes that were started before these tests."""
    return set(active_children())


def test_samplers_without_torch_pass_straight_through(proposer: Proposer, others: set[BaseProcess]) -> None:
    history = History(make_spec())
    assert proposer.propose(history.request()) == history.propose()
    assert not set(active_children()) - others


def test_the_time_of_a_proposal_is_its_samplers_in_the_background_too(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    proposer = Proposer(metrics)
    monkeypatch.setattr("service.search.propose.proposer.perf_counter", iter([1.0, 3.5]).__next__)
    request = History(make_spec(sampler={"name": "tpe"})).request()
    proposer.prepare("study", request)
    prepared = proposer.prepared("study", request.number)
    assert prepared is not None
    prepared.result()
    of_tpe = {"sampler": "tpe"}
    assert metrics.registry.get_sample_value("spezia_proposal_seconds_sum", of_tpe) == 2.5
    assert metrics.registry.get_sample_value("spezia_proposal_seconds_count", of_tpe) == 1
    proposer.close()


@needs_torch
def test_gp_proposes_in_a_helper_that_is_replaced_when_it_crashes(proposer: Proposer, others: set[BaseProcess]) -> None:
    history = History(make_spec(sampler={"name": "gp", "options": {"n_startup_trials": 3}}, seed=4))
    for value in (0.5, 0.4, 0.7):
        proposal = proposer.propose(history.request())
        assert proposal is not None
        history.tell(history.start(proposal), value)
    assert not set(active_children()) - others, "while trials are drawn at random, there is nothing to model"
    first = proposer.propose(history.request())
    (helper,) = set(active_children()) - others
    helper.kill()
    assert proposer.propose(history.request()) == first


@needs_torch
def test_gp_brings_no_torch_into_the_process_that_asks(tmp_path: Path) -> None:
    program = tmp_path / "asks.py"
    program.write_text(
        "import sys\n"
        "from multiprocessing import active_children\n"
        "from service.metrics import Metrics\n"
        "from service.search.propose.proposer import Proposer\n"
        "from tests.service.search.builders import History, make_spec\n"
        "if __name__ == '__main__':\n"
        "    history = History(make_spec(sampler={'name': 'gp', 'options': {'n_startup_trials': 1}}))\n"
        "    history.tell(history.start(history.propose()), 0.5)\n"
        "    proposer = Proposer(Metrics())\n"
        "    assert proposer.propose(history.request()) is not None\n"
        "    assert len(active_children()) == 1\n"
        "    print('torch' in sys.modules)\n"
        "    proposer.close()\n"
    )
    root = Path(__file__).parents[4]
    environment = os.environ | {"PYTHONPATH": str(root)}
    asked = subprocess.run([sys.executable, str(program)], env=environment, capture_output=True, text=True, check=True)
    assert asked.stdout == "False\n"


@needs_torch
def test_the_helper_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "parent.py"
    program.write_text(
        "from service.search.propose.helper import start_helper\n"
        "import os, time\n"
        "if __name__ == '__main__':\n"
        "    print(start_helper().submit(os.getpid).result(), flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    helper = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 10
    while _lives(helper) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not _lives(helper)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "find_spec", lambda name: None)
    assert missing_requirement(make_spec()) is None
    message = missing_requirement(make_spec(sampler={"name": "gp"}))
    assert message is not None
    assert "pip install torch" in message


def test_options_that_optuna_refuses_together_are_named() -> None:
    assert refused_options(make_spec()) is None
    both = {"use_separable_cma": True, "with_margin": True}
    refused = refused_options(make_spec(sampler={"name": "cmaes", "options": both}))
    assert refused is not None
    assert refused[0] == "sampler.options"
    crossed = {"name": "threshold", "options": {"lower": 2.0, "upper": 1.0}}
    assert refused_options(make_spec(pruner=crossed)) == (
        "pruner.options",
        "lower should be smaller than upper.",
    )


def _lives(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status")
    return status.exists() and "State:\tZ" not in status.read_text()
