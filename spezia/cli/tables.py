"""Trials, presets and validations for people: tables and sentences on a terminal."""

from collections.abc import Collection
from typing import Literal

from rich.table import Table

from spezia.common.plural import plural
from spezia.contract.hyperparameters import ParamValue
from spezia.contract.model_files import UploadedModel
from spezia.contract.preset import Preset, PresetParameter
from spezia.contract.ranges import Choices, Distribution
from spezia.contract.space import values_of
from spezia.contract.study import Study
from spezia.contract.trial import Trial
from spezia.contract.validation import Validation
from spezia.contract.workers import Work, Worker
from spezia.terminal.screen import Screen
from spezia.terminal.words import age_words, bytes_words, number_words, params_words, quote_words, value_words

MOST_WARNINGS = 3
"""Largest number of warnings of a validation on the screen, unless all are asked for."""


def trials_table(trials: list[Trial]) -> Table:
    """Return a table of trials, a row each."""
    table = plain_table("trial", "state", "value", "steps", "params", right=("trial", "value", "steps"))
    for trial in trials:
        table.add_row(str(trial.number), _state(trial), value_words(trial), str(trial.step), params_words(trial.params))
    return table


def studies_table(studies: list[Study]) -> Table:
    """Return a table of studies, a row each."""
    table = plain_table("study", "state", "trials", "best", "of", "created", right=("trials", "best"))
    for study in studies:
        best = number_words(study.best.value) if study.best else ""
        if study.pareto:
            best = f"{len(study.pareto)} in front"
        progress = f"{study.n_finished}/{study.spec.n_trials}"
        metric = study.spec.objectives[0].metric
        table.add_row(study.name, study.state, progress, best, metric, age_words(study.created_at))
    return table


def workers_table(workers: list[Worker]) -> Table:
    """Return a table of workers, a row each."""
    table = plain_table("worker", "host", "device", "memory", "does", "last seen", right=("memory",))
    for worker in workers:
        memory = bytes_words(worker.device.memory_bytes) if worker.device.memory_bytes else ""
        work = ", ".join(map(_work_words, worker.work)) or "waits"
        seen = age_words(worker.last_seen_at)
        table.add_row(worker.worker_id[:8], worker.host, worker.device.name, memory, work, seen)
    return table


def models_table(models: list[UploadedModel]) -> Table:
    """Return a table of uploaded models, a row each."""
    table = plain_table("model", "size", "files", "uploaded", right=("size", "files"))
    for model in models:
        size = bytes_words(model.size_bytes)
        table.add_row(model.reference, size, str(len(model.files)), age_words(model.uploaded_at))
    return table


def plain_table(*headings: str, right: Collection[str] = ()) -> Table:
    """Return an empty table without lines, in which the columns ``right`` are aligned to the right, as numbers are.

    The first column names what a row is about, and is folded where it does not fit, never cut: it is copied.
    """
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        justify: Literal["left", "right"] = "right" if heading in right else "left"
        table.add_column(heading, justify=justify, overflow="ellipsis" if table.columns else "fold")
    return table


def _state(trial: Trial) -> str:
    state = f"{trial.state} {trial.failure.failure_class}" if trial.failure else trial.state
    if trial.paused:
        state = f"{state} paused at rung {trial.paused.rung}"
    if trial.taken_from:
        state = f"{state} (as trial {trial.taken_from.number} of {trial.taken_from.study})"
    return state


def _work_words(work: Work) -> str:
    return f"{work.kind}{'' if work.number is None else f' {work.number}'} of {work.study}"


def show_validation(found: Validation, console: Screen, *, is_verbose: bool = False) -> None:
    """Print what a study would search, and the warnings about it with what to do; all of them where ``is_verbose``."""
    spec = found.spec
    table = plain_table("searched", "range")
    for name, entry in spec.search_space.items():
        table.add_row(name, distribution_words(entry))
    for name, value in spec.fixed.items():
        table.add_row(name, f"fixed at {_word(value)}", style="dim")
    console.print(table)
    size = "a continuous space" if found.size_of_space is None else f"a space of {plural(found.size_of_space, 'trial')}"
    longest = (
        f" of up to {plural(found.longest_trial_evaluations, 'evaluation')}" if found.longest_trial_evaluations else ""
    )
    console.print_line(
        f"{spec.name}: {plural(found.n_parameters, 'parameter')}, {size}; {plural(spec.n_trials, 'trial')}{longest} "
        f"({found.n_trials_advised} or more are advised)"
    )
    console.print_line(found.plan)
    if found.quote is not None:
        console.print_line(f"quote: {quote_words(found.quote)}")
    if found.warm_start is not None:
        console.print_line(f"warm start: {found.warm_start}")
    for warning in found.warnings if is_verbose else found.warnings[:MOST_WARNINGS]:
        console.print_line(f"note: {warning}", style="yellow")
    if not is_verbose and len(found.warnings) > MOST_WARNINGS:
        console.print_line(
            f"--verbose shows {plural(len(found.warnings) - MOST_WARNINGS, 'more note')}", style="yellow"
        )
    if not found.warnings:
        console.print_line("nothing to warn about")


def presets_table(presets: list[Preset]) -> Table:
    """Return a table of presets, a row each."""
    table = plain_table("preset", "tasks", "for")
    for preset in presets:
        table.add_row(preset.name, ", ".join(preset.tasks), preset.summary)
    return table


def preset_table(preset: Preset) -> Table:
    """Return a table of the parameters of one preset, a row each."""
    table = plain_table("parameter", "default", "range", "source")
    for name, line in preset.parameters.items():
        table.add_row(name, default_words(line), range_words(line), line.source)
    for params in preset.enqueue:
        table.add_row("tried first", params_words(params), "", preset.enqueue_source)
    return table


def default_words(line: PresetParameter) -> str:
    """Return the default of a preset's parameter in words."""
    return "by method" if line.default is None else _word(line.default)


def range_words(line: PresetParameter) -> str:
    """Return the range of a preset's parameter in words."""
    return "fixed" if line.distribution is None else distribution_words(line.distribution)


def distribution_words(entry: Distribution | list[Distribution]) -> str:
    """Return in words the range of a parameter, or its several ranges that depend on other parameters."""
    return "; ".join(map(_one_in_words, entry if isinstance(entry, list) else [entry]))


def _one_in_words(distribution: Distribution) -> str:
    when = [f"{parent} is {' or '.join(map(_word, values_of(values)))}" for parent, values in distribution.when.items()]
    return " when ".join([_reach(distribution), *([" and ".join(when)] if when else [])])


def _reach(distribution: Distribution) -> str:
    if isinstance(distribution, Choices):
        return ", ".join(map(_word, distribution.choices))
    step = f", step {distribution.step:g}" if distribution.step not in (None, 1) else ""
    return f"{distribution.low:g} to {distribution.high:g}{', log' if distribution.log else ''}{step}"


def _word(value: ParamValue) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
