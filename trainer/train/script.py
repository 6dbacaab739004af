"""Runs one trial of a user's own ``train(params, report)``, in the shape of ``fine_tune``: a generator of evaluations.

The function runs in a thread of its own and stands still inside ``report`` until its evaluation has been dealt with, so
only one of the two threads runs at a time.
"""

import math
import queue
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress

from spezia.contract.hyperparameters import ParamValue
from spezia.contract.objectives import missing_metrics
from spezia.script import TrialPruned
from trainer.errors import ConfigError, Diverged, NoMetric
from trainer.train.fine_tune import Evaluation
from trainer.train.script_file import Train

CLOSE_SECONDS = 30.0
"""Time that a script has to end after it has been told to."""


class ScriptStuck(RuntimeError):
    """The script goes on although it was told to end; its process is of no more use."""


def run_script(
    train: Train, params: Mapping[str, ParamValue], wanted: Sequence[str], *, close_seconds: float = CLOSE_SECONDS
) -> Generator[Evaluation, None, None]:
    """Run ``train`` and yield what it reports; the caller may close this after any evaluation.

    ``report(step=1, validation_loss=0.7, …)`` takes numbers by name, the study's ``wanted`` metrics among them, and
    optionally ``step``: counted from 1 and rising, the next one if left out.

    Args:
        wanted: names of the metrics that the study goes by, that of the first objective first.
        close_seconds: time that ``train`` has to end after it has been told to.

    Raises:
        Diverged: a reported number is not finite.
        ConfigError: ``report`` was called without a wanted metric, or with a step that does not rise.
        NoMetric: the function returned without a report.
        ScriptStuck: it did not end when this was closed.
        Exception: whatever the function raises.
    """
    desk = _Desk(train, params, wanted)
    desk.start()
    try:
        while (evaluation := desk.next()) is not None:
            yield evaluation
            desk.go_on()
    finally:
        desk.close(close_seconds)
    if desk.n_reports == 0:
        raise NoMetric(f"the script returned without a report; call report({wanted[0]}=…) after each evaluation")


class _Desk:
    """The place where the two threads meet."""

    def __init__(self, train: Train, params: Mapping[str, ParamValue], wanted: Sequence[str]) -> None:
        self.n_reports = 0
        self._train = train
        self._params = dict(params)
        self._wanted = wanted
        self._step = 0
        self._reports: queue.SimpleQueue[Evaluation | None] = queue.SimpleQueue()
        self._go_on: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._is_closed = False
        self._error: BaseException | None = None
        # daemon: a script that hangs must not keep the process alive
        self._thread = threading.Thread(target=self._run, name="script", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def next(self) -> Evaluation | None:
        """Wait for a report; ``None`` when the function has returned. Raises what it raised."""
        evaluation = self._reports.get()
        if evaluation is None and isinstance(self._error, Exception):
            raise self._error
        if evaluation is None and self._error is not None:
            raise RuntimeError(f"the script ended itself: {self._error!r}")  # such as sys.exit
        return evaluation

    def go_on(self) -> None:
        self._go_on.put(True)

    def close(self, seconds: float) -> None:
        self._is_closed = True
        self._go_on.put(False)
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise ScriptStuck(
                f"the script has not ended {seconds:.0f} s after it was told to; do not catch TrialPruned"
            )

    def _run(self) -> None:
        try:
            with suppress(TrialPruned):
                self._train(self._params, self._report)
        except BaseException as error:  # the other thread raises it, whatever it is
            self._error = error
        self._reports.put(None)

    def _report(self, *, step: int | None = None, **metrics: float) -> None:
        if self._is_closed:
            raise TrialPruned
        step = self._step + 1 if step is None else step
        if isinstance(step, bool) or not isinstance(step, int) or step <= self._step:
            raise ConfigError(f"report: step = {step!r} must be a whole number above {self._step}, the step before")
        if missing := missing_metrics(self._wanted, metrics):
            given = ", ".join(metrics) or "none"
            raise ConfigError(
                f"report: {', '.join(missing)} is missing, which an objective or constraint needs; given are {given}"
            )
        values = {name: float(value) for name, value in metrics.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise Diverged(f"the script reported {name} = {value}")
        self._step = step
        self.n_reports += 1
        self._reports.put(
            Evaluation(
                step=step,
                epoch=float(step),
                optimizer_steps=step,
                value=values[self._wanted[0]],
                metrics=values,
                final=False,
            )
        )
        if not self._go_on.get():
            raise TrialPruned
