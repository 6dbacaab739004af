"""An engine without torch: speaks the pipe's protocol and does what a script says, in milliseconds.

    python tests/fake_engine.py [--script FILE] [--dead-on-arrival] [what a supervisor adds]

The script is a JSON object of lists of actions: under ``prepare``, ``score``, or ``trials``; there under
``"3/1"`` (number/attempt), else ``"3"``, else ``"*"``. Without one, a trial evaluates as often as its spec
says, the better the nearer its learning rate is to 3e-5, and everything else succeeds. Actions:

    {"evaluate": 0.5, "final": true}    send an evaluation, wait for the answer, end or pause if it says so
    {"evaluate": 0.5, "at": 4}          evaluate at this step, instead of the one after the last
    {"evaluate": 0.5, "pause": []}      do these actions when it is to pause, instead of saving
    {"found": true}                     say what was found before steps are timed, of prepare and probe
    {"step": 1}                         say that the first optimizer step is made
    {"fail": "diverged"}                end with a failure of this class
    {"replay": [0.5, 0.4]}              end a replay with these values; beside "fail", what it measured before
    {"signal": 9} {"exit": 3}           die
    {"hang": true}                      do nothing until told to stop; then say that the trial is saved
    {"hang": "deaf"}                    do nothing for ever
    {"save": 3}                         leave a checkpoint of this step, where the trial is resumed from later
    {"until": "path"}                   wait until a file is there
    {"print": "text"} {"garble": "x"}   write to stdout, as a library may; write nonsense to the pipe
    {"pid": "path"}                     write its pid into a file
    {"orphan": "path"}                  leave a child of its own behind; its pid goes into the file
"""

import argparse
import json
import math
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from spezia.common.parent import end_by_kernel
from spezia.contract.assignments import Assignment, TrialAssignment
from spezia.contract.facts import Facts, Similarity
from spezia.contract.failure import Failure
from spezia.contract.outcomes import ReplayedEvaluation, TrialSpeed
from spezia.contract.protocol import Device
from trainer.engine.channel import Channel
from trainer.messages import Answer, Ended, Evaluated, Event, Failed, Found, Hello, Preempted, Training, Work
from trainer.trial import checkpoint_folder
from trainer.trial.checkpoint_folder import CheckpointFolder

VERSIONS = {"python": "3"}
DEVICE = Device(kind="cpu", name="fake", memory_bytes=0, bf16=False)
FACTS = Facts(
    train_rows=80,
    validation_rows=20,
    test_rows=20,
    classes=["no", "yes"],
    max_tokens=16,
    truncated_rows=0,
    blocks=6,
    parameters=1_000,
    checkpoint_dropout=0.1,
    model_commit=None,
    model_sha256="0" * 64,
    data_sha256="1" * 64,
    precision="fp32",
)
SIMILARITY = Similarity(metrics={"skill": 0.5}, suggestion=None, why="it lies in between")
MODEL = {"config.json": b"{}\n", "model.safetensors": b"weights" * 1_000}

SPEED: dict[str, Any] = {"seconds_per_epoch": 2.5, "trunk_seconds": 0.5}
"""What a trial has measured at each of its evaluations."""

Action = dict[str, Any]


class FakeEngine:
    """One assignment after the other, by the script."""

    def __init__(self, channel: Channel, script: dict[str, Any], checkpoint_dir: Path | None) -> None:
        self._channel = channel
        self._script = script
        self._checkpoints = CheckpointFolder(checkpoint_dir) if checkpoint_dir else None

    def run(self) -> None:
        self._channel.send(Hello(device=DEVICE, versions=VERSIONS))
        while True:
            command = self._channel.receive()
            if isinstance(command, Work):
                self._channel.send(self._carry_out(command))

    def _carry_out(self, work: Work) -> Event:
        answer = Answer(go_on=True)
        step = self._resume(work.assignment)
        for action in actions_of(work.assignment, self._script):
            (verb, argument), *_ = action.items()
            if verb == "evaluate":
                step = action.get("at", step + 1)
                answer = self._evaluate(work.assignment, step, argument, final=action.get("final", False))
                if answer.pause and not action.get("final"):
                    return self._pause(work.assignment, step, action.get("pause", []))
                if not answer.go_on:
                    return Ended()
            elif verb == "found":
                is_prepare = work.assignment.kind == "prepare"
                self._channel.send(Found(facts=FACTS) if is_prepare else Found(similarity=SIMILARITY))
            elif verb == "step":
                self._channel.send(Training())
            elif verb == "hang" and argument != "deaf":
                self._channel.stop_wanted.wait()
                return Preempted()
            elif verb == "save":
                self._save(work.assignment, argument)
            elif verb == "fail":
                return _failed(action)
            elif verb == "replay":
                return Ended(replayed=_replayed(argument))
            else:
                self._misbehave(verb, argument)
        return _end(work, answer)

    def _evaluate(self, assignment: Assignment, step: int, value: float, *, final: bool) -> Answer:
        evaluations_per_epoch = assignment.spec.training.evaluations_per_epoch
        metrics = {"train_loss": 0.9 * value, assignment.spec.metric: value}
        self._channel.send(
            Evaluated(
                step=step,
                epoch=step / evaluations_per_epoch,
                optimizer_steps=10 * step,
                value=value,
                metrics={"validation_loss": value} | metrics,
                final=final,
                partial=isinstance(assignment, TrialAssignment) and step in assignment.partial_at,
                speed=TrialSpeed(**SPEED),
            )
        )
        answer = self._channel.receive()
        assert isinstance(answer, Answer)
        return answer

    def _pause(self, assignment: Assignment, step: int, instead: list[Action]) -> Event:
        saves = [{"save": step}] if self._checkpoints else []
        for action in instead or saves:
            (verb, argument), *_ = action.items()
            if verb == "save":
                self._save(assignment, argument)
            elif verb == "fail":
                return _failed(action)
            else:
                self._misbehave(verb, argument)
        return Preempted()

    def _save(self, assignment: Assignment, step: int) -> None:
        assert isinstance(assignment, TrialAssignment)
        assert self._checkpoints is not None
        folder = self._checkpoints.of_attempt(assignment.study_id, assignment.number, assignment.attempt)
        with checkpoint_folder.begun(folder) as partial:
            (partial / checkpoint_folder.STATE).write_bytes(b"state")
            marker = checkpoint_folder.Marker(
                study_id=assignment.study_id,
                number=assignment.number,
                attempt=assignment.attempt,
                step=step,
                optimizer_steps=10 * step,
                versions=VERSIONS,
                size_bytes=5,
                written_at=time.time(),
            )
            checkpoint_folder.commit(partial, marker)

    def _resume(self, assignment: Assignment) -> int:
        if not isinstance(assignment, TrialAssignment) or assignment.resume is None:
            return 0
        assert self._checkpoints is not None
        folder = self._checkpoints.of_attempt(assignment.study_id, assignment.number, assignment.resume.attempt)
        found = checkpoint_folder.newest(folder)
        assert found is not None
        assert found[1].step == assignment.resume.step
        return found[1].step

    def _misbehave(self, verb: str, argument: Any) -> None:
        if verb == "signal":
            os.kill(os.getpid(), argument)
        elif verb == "exit":
            os._exit(argument)
        elif verb == "hang":
            threading.Event().wait()
        elif verb == "until":
            pause = threading.Event()
            while not Path(argument).exists():
                pause.wait(0.005)
        elif verb == "print":
            sys.stdout.write(argument + "\n")
            sys.stdout.flush()
        elif verb == "garble":
            os.write(self._channel._out.fileno(), argument.encode() + b"\n")
        elif verb == "pid":
            _write_pid(Path(argument))
        elif verb == "orphan":
            _leave_an_orphan(Path(argument))
        else:
            raise ValueError(f"unknown action {verb!r}")


def actions_of(assignment: Assignment, script: dict[str, Any]) -> list[Action]:
    """What the script, or else the default, says about ``assignment``."""
    if not isinstance(assignment, TrialAssignment):
        actions: list[Action] = script.get(assignment.kind, [])
        return actions
    trials = script.get("trials", {})
    for key in (f"{assignment.number}/{assignment.attempt}", str(assignment.number), "*"):
        if key in trials:
            scripted: list[Action] = trials[key]
            return scripted
    values = values_of(assignment)
    wanted = assignment.evaluate_at or range(1, len(values) + 1)
    past = assignment.resume.step if assignment.resume else 0
    return [
        {"evaluate": value, "at": step, "final": step == len(values)}
        for step, value in enumerate(values, start=1)
        if step > past and step in wanted
    ]


def values_of(assignment: TrialAssignment) -> list[float]:
    """A smooth curve per trial; in the objective's direction."""
    rate = float(assignment.params.get("learning_rate", 2e-5))
    n = int(assignment.params.get("epochs", 3)) * assignment.spec.training.evaluations_per_epoch
    floor = 0.2 + 0.1 * (math.log10(rate) - math.log10(3e-5)) ** 2
    losses = [floor + 0.5 / (step + 1) for step in range(n)]
    return losses if assignment.spec.direction == "minimize" else [math.exp(-loss) for loss in losses]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--script", type=Path)
    parser.add_argument("--dead-on-arrival", action="store_true")
    parser.add_argument("--parent", type=int)
    parser.add_argument("--checkpoint-dir", type=Path)
    options, _ = parser.parse_known_args()
    if options.parent:
        end_by_kernel(options.parent, signal.SIGKILL)
    for number in (signal.SIGTERM, signal.SIGINT):  # as the engine does
        signal.signal(number, signal.SIG_IGN)
    if options.dead_on_arrival:
        sys.exit("no device")
    channel = Channel()
    channel.start()
    script = json.loads(options.script.read_text()) if options.script else {}
    FakeEngine(channel, script, options.checkpoint_dir).run()


def _end(work: Work, answer: Answer) -> Ended:
    directory = Path(work.directory)
    if work.assignment.kind == "prepare":
        return Ended(facts=FACTS)
    if work.assignment.kind == "score":
        missing = [name for name, content in MODEL.items() if (directory / name).read_bytes() != content]
        return Ended(metrics={"test_loss": 0.5, "test_accuracy": 0.0 if missing else 1.0})
    if work.assignment.kind == "confirm":
        return Ended(metrics={"validation_loss": 0.5}, row_scores=[0.4, 0.6])
    if not answer.keep_model:
        return Ended()
    for name, content in MODEL.items():
        (directory / name).write_bytes(content)
    return Ended(model_saved=True)


def _failed(action: Action) -> Failed:
    failure = {"failure_class": action["fail"], "message": action.get("message", "as scripted")}
    return Failed(failure=Failure.model_validate(failure), replayed=_replayed(action.get("replay", [])))


def _replayed(values: list[float]) -> list[ReplayedEvaluation]:
    return [ReplayedEvaluation(step=step, value=value, metrics={}) for step, value in enumerate(values, start=1)]


def _write_pid(path: Path) -> None:
    path.with_suffix(".new").write_text(str(os.getpid()))
    path.with_suffix(".new").rename(path)  # whoever waits for the file finds it whole


def _leave_an_orphan(path: Path) -> None:
    if os.fork() == 0:
        _write_pid(path)
        threading.Event().wait()
        os._exit(0)


if __name__ == "__main__":
    main()
