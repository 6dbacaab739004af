"""A study to hold on to: what one does with it and asks of it, each a call of the service."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spezia.client.calls import Calls
from spezia.client.figure import plotly_figure
from spezia.client.trials_dataframe import trials_dataframe
from spezia.common.lazy_module import LazyModule
from spezia.contract.advice import Change
from spezia.contract.best_trial import BestTrial, ParetoFront
from spezia.contract.plot import PlotKind
from spezia.contract.study import Study
from spezia.contract.study_spec import Params, StudyChange
from spezia.contract.trial import Trial, TrialDetail

progress_display = LazyModule("spezia.client.progress")
terminal = LazyModule("spezia.terminal.screen")


class StudyHandle:
    """One study of a service. Attributes and methods ask the service anew each time, as those of Optuna's studies do.

    They raise `SpeziaError` where the service refuses, and `Unreachable` where nobody answers.
    """

    def __init__(self, calls: Calls, name: str) -> None:
        """Hold the study ``name``; nothing is asked yet."""
        self._calls = calls
        self.name = name

    def __repr__(self) -> str:
        return f"StudyHandle({self.name!r})"

    @property
    def info(self) -> Study:
        """The study as it is now: state, counts, spec, costs and warnings."""
        return self._calls.get_study(self.name)

    @property
    def best(self) -> BestTrial | ParetoFront:
        """The best trial so far, or the Pareto front of several objectives.

        Raises:
            SpeziaError: Of the code ``no-best`` while no trial has a value.
        """
        return self._calls.best(self.name)

    @property
    def trials(self) -> list[Trial]:
        """All trials in short, by number."""
        return list(self._calls.list_trials(self.name))

    def trial(self, number: int) -> TrialDetail:
        """Return one trial with its attempts and evaluations; of more than 1,000 evaluations it has 1,000."""
        return self._calls.get_trial(self.name, number)

    def trials_dataframe(self) -> Any:
        """Return all trials as a pandas ``DataFrame`` with the columns that Optuna gives them.

        Raises:
            MissingExtra: pandas is not installed.
        """
        return trials_dataframe(self.trials, [one.metric for one in self.info.spec.objectives])

    def plot(self, kind: PlotKind, objective: str | None = None) -> Any:
        """Return a plot as a Plotly ``Figure``, which a notebook draws.

        Args:
            kind: Such as ``history``, ``importances`` or ``timeline``.
            objective: Metric of the objective that is plotted; ``None``: the first one.

        Raises:
            MissingExtra: plotly is not installed.
        """
        return plotly_figure(self._calls.plot(self.name, kind, objective))

    def wait(self, *, progress: bool = False) -> Study:
        """Wait until nothing of the study runs any more; return it as it ended.

        Args:
            progress: Whether to show the running trials live, on a terminal or in a notebook, and each that has ended.
        """
        if progress:
            ended: Study = progress_display.watch(self._calls, self.name, terminal.Screen())
            return ended
        return self._calls.wait(self.name)

    def best_model(self, folder: Path | str | None = None) -> Path:
        """Fetch the best trial's model into a new folder, by default one of the study's name; return the folder.

        Raises:
            FileExistsError: The folder is there already.
        """
        return self._calls.best_model(self.name, Path(folder or self.name))

    def pause(self) -> Study:
        """Start no new trials until the study is resumed."""
        return self._calls.pause(self.name)

    def resume(self) -> Study:
        """Let the paused study go on."""
        return self._calls.resume(self.name)

    def stop(self) -> Study:
        """Complete the study when its running trials have ended; no new ones start."""
        return self._calls.stop(self.name)

    def cancel(self) -> Study:
        """End the study and all its running trials now."""
        return self._calls.cancel(self.name)

    def extend(self, change: StudyChange) -> Study:
        """Change the study's limits; an ended one goes on when a budget is raised."""
        return self._calls.extend(self.name, change)

    def clone(self, name: str | None = None, changes: Sequence[Change] = ()) -> "StudyHandle":
        """Create a study with the spec of this one, with ``changes`` such as those of its advice; return it."""
        return StudyHandle(self._calls, self._calls.clone(self.name, name, changes).name)

    def enqueue(self, params: Params) -> TrialDetail:
        """Add a trial of given params, which is run next; searched params that are left out are drawn."""
        return self._calls.enqueue(self.name, params)

    def delete(self) -> None:
        """Remove the study, its trials and its models."""
        self._calls.delete(self.name)
