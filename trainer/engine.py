"""The child process that trains: `python -P -m trainer.engine`, started and driven by a supervisor.

It imports torch once and keeps the data and models of the last studies warm between assignments.
"""

import argparse
import errno
import logging
import platform
import signal
import traceback
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import torch
import transformers
from torch.optim.optimizer import register_optimizer_step_post_hook

from service.contract.study import Failure
from service.contract.worker import Assignment, PrepareAssignment, ScoreAssignment, TrialAssignment
from trainer import pipe
from trainer.best_model import BestModel
from trainer.channel import Channel
from trainer.config import TrialConfig
from trainer.device import choose_device, describe_device
from trainer.errors import TrainerError
from trainer.fine_tune import Evaluation, fine_tune
from trainer.parent import die_with_parent
from trainer.prepare import Prepared, prepare
from trainer.pulse import Pulse
from trainer.score import score

_WARM_STUDIES = 2
_MAX_MESSAGE = 1_000


class Engine:
    """Carries out one assignment after the other."""

    def __init__(self, channel: Channel, *, roots: Sequence[Path], device: torch.device) -> None:
        self._channel = channel
        self._roots = roots
        self._device = device
        self._warm: OrderedDict[str, Prepared] = OrderedDict()

    def run(self) -> None:
        """Work until the supervisor is gone, which ends the process."""
        versions = {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }
        self._channel.send(pipe.Hello(device=describe_device(self._device), versions=versions))
        while True:
            command = self._channel.receive()
            if isinstance(command, pipe.Work):  # an answer to a trial that has failed meanwhile is void
                self._channel.send(self._carry_out(command))

    def _carry_out(self, work: pipe.Work) -> pipe.Ended | pipe.Failed:
        try:
            return self._end_of(work.assignment, Path(work.directory))
        except Exception as error:  # a trial may raise anything; all of it is reported, in its class
            traceback.print_exc()
            return pipe.Failed(failure=failure_of(error))

    def _end_of(self, assignment: Assignment, directory: Path) -> pipe.Ended:
        prepared = self._prepared(assignment)
        if isinstance(assignment, PrepareAssignment):
            return pipe.Ended(facts=prepared.facts)
        if isinstance(assignment, ScoreAssignment):
            return pipe.Ended(metrics=score(directory, prepared))
        return self._trial(assignment, prepared, directory)

    def _prepared(self, assignment: Assignment) -> Prepared:
        key = assignment.study_id
        if key not in self._warm:
            facts = None if isinstance(assignment, PrepareAssignment) else assignment.facts
            self._warm[key] = prepare(assignment.spec, roots=self._roots, device=self._device, facts=facts)
        self._warm.move_to_end(key)
        while len(self._warm) > _WARM_STUDIES:
            self._warm.popitem(last=False)
        return self._warm[key]

    def _trial(self, assignment: TrialAssignment, prepared: Prepared, directory: Path) -> pipe.Ended:
        config = TrialConfig.from_params(assignment.params)
        best = BestModel()
        answer = pipe.Answer(go_on=True)
        for evaluation in fine_tune(prepared, config, seed=assignment.spec.seed, number=assignment.number, best=best):
            answer = self._ask(evaluation)
            if not answer.go_on:
                break
        if answer.go_on and answer.keep_model:
            best.save(directory)
            return pipe.Ended(model_saved=True)
        return pipe.Ended()

    def _ask(self, evaluation: Evaluation) -> pipe.Answer:
        self._channel.send(
            pipe.Evaluated(
                step=evaluation.step,
                epoch=evaluation.epoch,
                optimizer_steps=evaluation.optimizer_steps,
                value=evaluation.value,
                metrics=evaluation.metrics,
                final=evaluation.final,
            )
        )
        answer = self._channel.receive()
        assert isinstance(answer, pipe.Answer)
        return answer


def failure_of(error: Exception) -> Failure:
    """The class of ``error``, and one line that says what happened."""
    message = " ".join(str(error).split())[:_MAX_MESSAGE]
    if isinstance(error, TrainerError):
        return Failure.model_validate({"failure_class": error.failure_class, "message": message})
    message = f"{type(error).__name__}: {message}"[:_MAX_MESSAGE]
    return Failure.model_validate({"failure_class": _class_of(error), "message": message})


def main() -> None:
    """Set the process up and work."""
    parser = argparse.ArgumentParser(prog="trainer.engine")
    parser.add_argument("--parent", type=int, required=True, help="process that this one must not outlive")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--data-root", type=Path, action="append", default=[])
    options = parser.parse_args()
    die_with_parent(options.parent, signal.SIGKILL)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    channel = Channel()
    channel.start()
    if options.threads:
        torch.set_num_threads(options.threads)
    pulse = Pulse(lambda: channel.send(pipe.Pulse()))
    register_optimizer_step_post_hook(pulse.count_step)
    pulse.start()
    Engine(channel, roots=options.data_root, device=choose_device()).run()


def _class_of(error: Exception) -> str:
    text = str(error)
    if isinstance(error, torch.OutOfMemoryError):
        return "out_of_memory"
    if isinstance(error, torch.AcceleratorError) or (isinstance(error, RuntimeError) and "CUDA error" in text):
        return "device_error"
    if isinstance(error, MemoryError) or "DefaultCPUAllocator" in text:
        return "host_out_of_memory"
    if (isinstance(error, OSError) and error.errno == errno.ENOSPC) or "No space left on device" in text:
        return "disk_full"
    return "exception"


if __name__ == "__main__":
    main()
