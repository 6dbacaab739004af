"""A running study, for people at a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Group
from rich.live import Live
from rich.text import Text

from spezia.client.calls import ENDED, Calls
from spezia.common.plural import plural
from spezia.contract.start_small import SmallRun, SmallRuns
from spezia.contract.study import Study, TrialCounts
from spezia.contract.study_spec import Params
from spezia.contract.trial import Trial, TrialDetail
from spezia.terminal.screen import Screen
from spezia.terminal.words import duration_words, number_words, params_words, quote_words, value_words

POLL_SECONDS = 0.5


def watch(client: Calls, name: str, console: Screen) -> Study:
    """Show a study until nothing of it runs any more; return it as it ended.

    A terminal or a notebook shows the running trials in place; elsewhere there is one plain line per trial, or small
    run, that ends, and one per warning that appears.
    """
    shown = _News(client, name, console)
    with _screen(console) as screen:
        return client.wait(name, POLL_SECONDS, lambda study: _show(client, study, shown, screen))


class _News:
    """Prints once each trial and small run that ends, and each warning that appears.

    What had ended before is not printed, and the warnings of a study that is over come with its result.
    """

    def __init__(self, client: Calls, name: str, console: Screen) -> None:
        self._client = client
        self._name = name
        self._console = console
        self._counts: TrialCounts | None = None
        self._printed: set[int] = set()
        self._small: set[int] | None = None
        self._warnings: set[str] = set()
        self._has_quoted = False

    def print_new(self, study: Study) -> None:
        if study.state not in ENDED:
            self._print_warnings(study)
        is_new = study.n_finished == 0 or self._counts is not None
        if study.quote is not None and not self._has_quoted and is_new:
            self._console.print_line(f"quote: {quote_words(study.quote)}")
        self._has_quoted = study.quote is not None
        if study.start_small:
            self._print_small(study.start_small)
        if study.trials != self._counts:
            self._print_trials(study)

    def _print_warnings(self, study: Study) -> None:
        for warning in study.warnings:
            if warning not in self._warnings:
                self._warnings.add(warning)
                self._console.print_line(f"note: {warning}", style="yellow")

    def _print_small(self, small: SmallRuns) -> None:
        ended = {run.number: run for run in small.runs}
        new = [] if self._small is None else sorted(ended.keys() - self._small)
        if new:
            params = {trial.number: trial.params for trial in self._client.list_trials(self._name)}
            for number in new:
                line = _small_line(ended[number], params[number], small.fraction)
                self._console.print_line(line)
        self._small = set(ended)

    def _print_trials(self, study: Study) -> None:
        for trial in self._client.list_trials(self._name):
            if trial.state in ("COMPLETE", "PRUNED", "FAIL") and trial.number not in self._printed:
                self._printed.add(trial.number)
                if self._counts is not None:
                    self._console.print_line(_ended_line(trial))
        if self._counts is None and self._printed:
            self._console.print_line(f"{plural(len(self._printed), 'trial')} had ended before")
        self._counts = study.trials


@contextmanager
def _screen(console: Screen) -> Iterator[Live | None]:
    if not (console.is_terminal or console.is_jupyter):
        yield None
        return
    with Live(console=console, auto_refresh=False, transient=True) as live:
        yield live


def _show(client: Calls, study: Study, shown: _News, screen: Live | None) -> None:
    shown.print_new(study)
    if screen is None or study.state in ENDED:
        return
    running = [client.get_trial(study.name, trial.number) for trial in client.list_trials(study.name, "RUNNING")]
    lines = [Text(_running_line(trial), overflow="ellipsis", no_wrap=True) for trial in running]
    screen.update(Group(*lines, Text(_study_line(study))), refresh=True)


# The params come last in a line: they are what a narrow terminal may cut or wrap.


def _running_line(trial: TrialDetail) -> str:
    if not trial.intermediate_values:
        return _trial_line(trial, "-", "no evaluation yet")
    last = trial.intermediate_values[-1]
    of_a_part = " (of a part of the validation rows)" if last.partial else ""
    return _trial_line(trial, number_words(last.value), f"epoch {last.epoch:g}, step {last.step}{of_a_part}")


def _ended_line(trial: Trial) -> str:
    where = f"epoch {trial.epoch:g}, step {trial.step}"
    if trial.failure and trial.state == "FAIL":
        return _trial_line(trial, "failed", f"{where}: {trial.failure.failure_class}: {trial.failure.message}")
    return _trial_line(trial, value_words(trial), f"{where}{', pruned' if trial.state == 'PRUNED' else ''}")


def _trial_line(trial: Trial, value: str, where: str) -> str:
    return f"trial {trial.number:>4}  {value:<9}  {where}  {params_words(trial.params)}"


def _small_line(run: SmallRun, params: Params, fraction: float) -> str:
    end, why = ("failed", f": {run.failure}") if run.value is None else (number_words(run.value), "")
    return f"small {run.number:>4}  {end:<9}  {fraction:.0%} of the data{why}  {params_words(params)}"


def _study_line(study: Study) -> str:
    if study.facts is None:
        return f"{study.name}: a worker checks data and model"
    parts = [f"{study.n_finished}/{plural(study.spec.n_trials, 'trial')}"]
    if study.start_small and study.spec.start_small and len(study.start_small.runs) < study.spec.start_small.trials:
        parts.insert(0, f"{len(study.start_small.runs)}/{study.spec.start_small.trials} small runs")
    if study.trials.paused:
        parts.append(f"{study.trials.paused} paused")
    if study.best:
        parts.append(f"best {number_words(study.best.value)} (trial {study.best.number})")
    if study.n_confirm_runs:
        parts.append(f"{plural(study.n_confirm_runs, 'run')} under fresh seeds")
    if study.pareto:
        parts.append(f"{len(study.pareto)} on the Pareto front")
    left = study.spec.n_trials - study.n_finished
    if study.n_finished and left > 0 and not study.trials.paused:  # most paused ones will end at once
        parts.append(f"about {duration_words(study.elapsed_seconds / study.n_finished * left)} left")
    state = "" if study.state == "running" else f" ({study.state})"
    return f"{study.name}{state}: {', '.join(parts)}"
