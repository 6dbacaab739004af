"""Runs one trial of a user's own ``train(params, report)``, in the shape of ``fine_tune``: a generator of evaluations.

The function runs in a thread of its own and stands still inside ``report`` until its evaluation has been dealt with, so
only one of the two threads runs at a time.
"""

import math
import operator
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
    optionally ``step``: rising, and the next one if left out. ``report({"validation_loss": 0.7})`` does the same, and
    scalars of numpy and torch are numbers, too. Steps count from 1; those of a script that begins with 0 are one more.

    Args:
        wanted: names of the metrics that the study goes by, that of the first objective first.
        close_seconds: time that ``train`` has to end after it has been told to.

    Raises:
        Diverged: a reported number is not finite.
        ConfigError: ``report`` was called without a wanted metric, with a step that does not rise, or with a metric
            that is no number.
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
        self._first = 1
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

    def _report(self, metrics: Mapping[str, object] | None = None, /, **named: object) -> None:
        if self._is_closed:
            raise TrialPruned
        reported = dict(metrics or {}) | named
        step = self._checked_step(reported.pop("step", None))
        values = {name: _number(name, value) for name, value in reported.items()}
        if missing := missing_metrics(self._wanted, values):
            given = ", ".join(values) or "none"
            raise ConfigError(
                f"report: {', '.join(missing)} is missing, which an objective or constraint needs; given are {given}"
            )
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

    def _checked_step(self, step: object) -> int:
        """Return ``step`` as counted from 1; a script whose first step is 0 counts from 0."""
        if step is None:
            return self._step + 1
        before = self._step - 1 + self._first
        try:
            number = operator.index(step)  # type: ignore[arg-type]  # raises for what is none
        except TypeError:
            raise ConfigError(f"report: step = {step!r} must be a whole number") from None
        if self.n_reports == 0 and number == 0:
            self._first = 0
            before = -1
        if isinstance(step, bool) or number <= before:
            raise ConfigError(f"report: step = {step!r} must be a whole number above {before}, the step before")
        return number + 1 - self._first


def _number(name: str, value: object) -> float:
    """Return a metric as a number; it may be a scalar of numpy or torch, or an array of one element."""
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        return float(value)  # type: ignore[arg-type]  # raises for what is none
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise ConfigError(f"report: {name} = {value!r} is not a number; report one number for each metric") from None
