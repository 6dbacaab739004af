"""A person's own training function, in the shape of our loop."""

import re
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from service.launch.local import WorkerPlan
from spezia.contract.facts import Facts
from spezia.contract.study_spec import StudySpec
from tests.fake_service import assignment
from tests.trainer import tiny
from tests.trainer.scripted_channel import ScriptedChannel
from trainer import messages
from trainer.cli import engine_command
from trainer.engine.engine import Engine
from trainer.errors import ConfigError, Diverged, NoMetric
from trainer.supervisor.engine_process import EngineProcess
from trainer.train.script import ScriptStuck, TrialPruned, run_script
from trainer.train.script_file import open_script

Report = Callable[..., None]


def run(train: Callable[[dict[str, Any], Report], object]) -> list[tuple[int, float]]:
    """Steps and values of all evaluations."""
    return [(evaluation.step, evaluation.value) for evaluation in run_script(train, {"depth": 3}, ["loss"])]


def test_reports_become_evaluations() -> None:
    def train(params: dict[str, Any], report: Report) -> None:
        report(loss=params["depth"], accuracy=0.5)
        report(step=4, loss=2)
        report(loss=1.5)

    assert run(train) == [(1, 3.0), (4, 2.0), (5, 1.5)]
    first = next(run_script(train, {"depth": 3}, ["accuracy"]))
    assert (first.value, first.metrics, first.final) == (0.5, {"loss": 3.0, "accuracy": 0.5}, False)


def test_scalars_and_dictionaries_are_reports() -> None:
    def train(params: dict[str, Any], report: Report) -> None:
        report({"loss": np.float32(0.5), "step": np.int64(2)})
        report({"loss": torch.tensor([0.25])}, step=torch.tensor(3))

    assert run(train) == [(2, 0.5), (3, 0.25)]


def test_steps_that_begin_with_0_are_counted_from_1() -> None:
    def train(params: dict[str, Any], report: Report) -> None:
        for step in range(3):
            report(step=step, loss=step)
        report(loss=9)

    assert run(train) == [(1, 0.0), (2, 1.0), (3, 2.0), (4, 9.0)]
    with pytest.raises(ConfigError, match="step = 1 must be a whole number above 1, the step before"):
        run(lambda params, report: [report(step=step, loss=1.0) for step in (0, 1, 1)])


def test_a_script_stands_still_until_its_report_is_dealt_with() -> None:
    seen = []

    def train(params: dict[str, Any], report: Report) -> None:
        for step in range(3):
            seen.append(step)
            report(loss=step)

    with closing(run_script(train, {}, ["loss"])) as evaluations:
        next(evaluations)
        assert seen == [0]
        next(evaluations)
        assert seen == [0, 1]


def test_a_pruned_script_is_closed_and_cleans_up() -> None:
    ended = []

    def train(params: dict[str, Any], report: Report) -> None:
        try:
            while True:
                try:
                    report(loss=1.0)
                except Exception:  # as scripts have it
                    ended.append("swallowed")
        finally:
            ended.append("cleaned up")

    evaluations = run_script(train, {}, ["loss"])
    next(evaluations)
    evaluations.close()
    assert ended == ["cleaned up"]
    assert not [thread for thread in threading.enumerate() if thread.name == "script"]


def test_a_script_that_goes_on_after_its_end_spoils_the_process() -> None:
    release = threading.Event()

    def train(params: dict[str, Any], report: Report) -> None:
        try:
            report(loss=1.0)
        except TrialPruned:
            release.wait(10)

    evaluations = run_script(train, {}, ["loss"], close_seconds=0.01)
    next(evaluations)
    with pytest.raises(
        ScriptStuck, match="the script has not ended 0 s after it was told to; do not catch TrialPruned"
    ):
        evaluations.close()
    release.set()


def reports(**values: Any) -> Callable[[dict[str, Any], Report], None]:
    return lambda params, report: report(**values)


def broken(params: dict[str, Any], report: Report) -> None:
    report(loss=1.0)
    raise KeyError("lost")


@pytest.mark.parametrize(
    ("train", "error", "message"),
    [
        (
            reports(accuracy=1.0),
            ConfigError,
            "report: loss is missing, which an objective or constraint needs; given are accuracy",
        ),
        (reports(), ConfigError, "loss is missing, which an objective or constraint needs; given are none"),
        (reports(loss=1.0, step=-1), ConfigError, "report: step = -1 must be a whole number above 0, the step before"),
        (reports(loss=1.0, step=True), ConfigError, "report: step = True must be a whole number"),
        (reports(loss="much"), ConfigError, "report: loss = 'much' is not a number; report one number for each metric"),
        (reports(loss=1.0, grid=[1, 2]), ConfigError, "report: grid = [1, 2] is not a number"),
        (reports(loss=torch.ones(2)), ConfigError, "report: loss = tensor([1., 1.]) is not a number"),
        (reports(loss=1.0, step=1.5), ConfigError, "report: step = 1.5 must be a whole number"),
        (reports(loss=float("nan")), Diverged, "the script reported loss = nan"),
        (reports(loss=1.0, other=float("inf")), Diverged, "the script reported other = inf"),
        (lambda params, report: None, NoMetric, "the script returned without a report; call report(loss=…)"),
        (broken, KeyError, "lost"),
        (lambda params, report: exit(3), RuntimeError, "the script ended itself: SystemExit(3)"),
    ],
)
def test_what_goes_wrong_in_a_script_is_raised(train: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        run(train)


GOOD = """
def train(params, report):
    for step in range(1, 4):
        report(step=step, loss=params["start"] / step)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "good.py").write_text(GOOD)
    return tmp_path / "scripts"


def open_anyway(name: str, folders: Sequence[Path], facts: Facts | None = None) -> None:
    with open_script(name, folders, facts):
        pass


def facts_of(folder: Path) -> Facts:
    with open_script("good.py", [folder]) as script:
        return script.facts


def test_facts_of_a_script_are_its_hash(folder: Path) -> None:
    facts = facts_of(folder)
    assert (facts.classes, facts.train_rows, facts.model_sha256) == ([], 0, "")
    with open_script("good.py", [folder], facts) as script:
        assert script.facts is facts
    (folder / "good.py").write_text(GOOD + "# changed\n")
    with pytest.raises(ConfigError, match=r"script: good\.py changed since the study was prepared"):
        open_anyway("good.py", [folder], facts)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.py", "def train(:", "script: bad.py cannot be loaded: invalid syntax"),
        ("bad.py", "import nowhere_to_be_found", "script: bad.py cannot be loaded: No module named"),
        ("bad.py", "import sys; sys.exit('no')", "bad.py ends itself while it is loaded (SystemExit('no'))"),
        (
            "bad.py",
            "import argparse; argparse.ArgumentParser().parse_args(['--lr', '1'])",
            "bad.py ends itself while it is loaded (SystemExit(2)), as argparse and sys.exit do; put that below if",
        ),
        ("json.py", GOOD, "script: json.py has the name of another Python module, json; rename it"),
        (
            "bad.py",
            "\nnot_there",
            "script: bad.py, line 2 cannot be loaded: NameError: name 'not_there' is not defined",
        ),
        ("bad.py", "open('absent.csv')", "script: bad.py, line 1 cannot be loaded: FileNotFoundError: [Errno 2]"),
        ("bad.py", "from .good import train", "known parent package; import the files beside it by their names"),
        ("bad.py", "async def train(params, report): pass", "script: train in bad.py is called and does nothing"),
        ("bad.py", "def train(params, report): yield", "script: train in bad.py is called and does nothing"),
        ("bad.py", "train = 3", "script: bad.py defines no function train(params, report); add it"),
        ("bad.py", "def train(params): pass", "script: train in bad.py must take (params, report): too many"),
        ("bad.txt", "", "script: bad.txt is no Python file; its name must end in .py"),
        ("absent.py", None, "script: absent.py under {folder} is no file; correct the path"),
        ("../out.py", None, "script: ../out.py lies outside the folders"),
    ],
)
def test_what_is_no_script_is_refused(folder: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(ConfigError, match=re.escape(message.format(folder=folder))):
        open_anyway(name, [folder])


def test_without_an_allowed_folder_nothing_runs(folder: Path) -> None:
    with pytest.raises(ConfigError, match="this worker runs no scripts; start it with --allow-scripts"):
        open_anyway(str(folder / "good.py"), [])
    with pytest.raises(ConfigError, match=f"or start the worker with --allow-scripts {folder}"):
        open_anyway(str(folder / "good.py"), [folder / "other"])


def play(folder: Path, *commands: messages.Command, stop: bool = False) -> list[Any]:
    channel = ScriptedChannel(*commands)
    if stop:
        channel.stop_wanted.set()
    engine = Engine(channel, roots=[], device=tiny.CPU, script_folders=[folder])  # type: ignore[arg-type]
    with pytest.raises(EOFError):
        engine.run()
    return channel.events[1:]


def work(folder: Path, kind: str, **changes: Any) -> messages.Work:
    body = {"task": "script", "script": "good.py", "search_space": {"start": {"type": "int", "low": 1, "high": 9}}}
    spec = StudySpec.model_validate(body | {"objective": {"metric": "loss", "direction": "minimize"}})
    changes |= {"spec": spec, "token": ""}
    if kind != "prepare":
        changes |= {"params": {"start": 6}, "facts": facts_of(folder)}
    return messages.Work(assignment=assignment(kind, **changes), directory="")


def test_allowed_folders_reach_the_engine(tmp_path: Path) -> None:
    command = engine_command("engine", data_roots=[], threads=None, allow_scripts=[tmp_path, Path("here")])
    assert command[3:] == ["--allow-scripts", str(tmp_path), "--allow-scripts", str(Path.cwd() / "here")]
    plan = WorkerPlan(server="http://x", data_roots=[], allow_scripts=[tmp_path], gpus=[], n_workers=1)
    command = plan.command("id")
    assert command[command.index("--allow-scripts") + 1] == str(tmp_path)


def test_an_engine_runs_a_script(folder: Path) -> None:
    go_on = messages.Answer(go_on=True, keep_model=True)
    (prepared,) = play(folder, work(folder, "prepare"))
    assert prepared.facts == facts_of(folder)
    *evaluated, ended = play(folder, work(folder, "trial"), go_on, go_on, go_on)
    assert [(event.step, event.value) for event in evaluated] == [(1, 6.0), (2, 3.0), (3, 2.0)]
    assert ended == messages.Ended()


def test_an_engine_stops_a_script_when_told_to(folder: Path) -> None:
    evaluated, ended = play(folder, work(folder, "trial"), messages.Answer(go_on=False))
    assert (evaluated.step, ended) == (1, messages.Ended())
    assert play(folder, work(folder, "trial"), stop=True) == [messages.Preempted()]


@pytest.mark.parametrize(("last_step", "values"), [(2, [6.0, 3.0]), (3, [6.0, 3.0, 2.0]), (None, [6.0, 3.0, 2.0])])
def test_an_engine_replays_a_script(folder: Path, last_step: int | None, values: list[float]) -> None:
    (ended,) = play(folder, work(folder, "replay", last_step=last_step))
    assert [one.value for one in ended.replayed] == values


LIKE_ANY_FILE = """
from __future__ import annotations

import multiprocessing
import pickle
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import beside

if __name__ == "__main__":
    sys.exit("only by hand")


@dataclass
class Point:
    x: int


def double(n):
    return 2 * n


def train(params, report):
    point = pickle.loads(pickle.dumps(Point(beside.ONE)))
    report(loss=point.x, held=float(Path("held.txt").read_text()))
    for method in ("fork", "spawn"):
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            report(loss=sum(pool.map(double, [1, 2])))
        process = context.Process(target=time.sleep, args=(60,))
        process.start()
        process.terminate()
        process.join(30)
        report(loss=process.exitcode)
"""


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_script_is_a_file_like_any_other(folder: Path) -> None:
    (folder / "whole.py").write_text(LIKE_ANY_FILE)
    (folder / "beside.py").write_text("ONE = 1")
    (folder / "held.txt").write_text("0.5")
    before = Path.cwd(), list(sys.path), set(sys.modules)
    with open_script("whole.py", [folder]) as script:
        assert Path.cwd() == folder
        evaluations = list(run_script(script.train, {}, ["loss"]))
    assert [evaluation.value for evaluation in evaluations] == [1.0, 6.0, -15.0, 6.0, -15.0]
    assert evaluations[0].metrics["held"] == 0.5
    assert (Path.cwd(), list(sys.path)) == before[:2]
    assert {"whole", "beside"}.isdisjoint(sys.modules)


def test_two_scripts_have_modules_of_one_name(folder: Path, tmp_path: Path) -> None:
    values = []
    for number in (1, 2):
        other = tmp_path / str(number)
        other.mkdir()
        (other / "helper.py").write_text(f"VALUE = {number}")
        (other / "script.py").write_text("import helper\ndef train(params, report): report(loss=helper.VALUE)")
        with open_script("script.py", [other]) as script:
            values += [evaluation.value for evaluation in run_script(script.train, {}, ["loss"])]
    assert values == [1.0, 2.0]


@pytest.mark.slow
def test_processes_of_a_script_end_by_the_signal_that_the_engine_ignores(folder: Path) -> None:
    (folder / "beside.py").write_text("ONE = 1")
    (folder / "held.txt").write_text("0.5")
    (folder / "good.py").write_text(LIKE_ANY_FILE)
    command = engine_command(f"{sys.executable} -P -m trainer.engine", data_roots=[], threads=1, allow_scripts=[folder])
    engine = EngineProcess(command)
    try:
        assert isinstance(engine.inbox.get(timeout=120), messages.Hello)
        engine.send(work(folder, "trial"))
        values = []
        while not isinstance(event := engine.inbox.get(timeout=60), messages.Ended):
            if isinstance(event, messages.Evaluated):
                values.append(event.value)
                engine.send(messages.Answer(go_on=True))
            else:
                assert isinstance(event, messages.Alive), event
        assert values == [1.0, 6.0, -15.0, 6.0, -15.0]
    finally:
        engine.kill()
