"""Trials, presets and validations for people: tables and sentences on a terminal."""

from rich.console import Console
from rich.table import Table

from spezia.cli.words import params_words, quote_words, value_words
from spezia.contract.hyperparameters import ParamValue
from spezia.contract.preset import Preset, PresetParameter
from spezia.contract.ranges import Choices, Distribution
from spezia.contract.space import values_of
from spezia.contract.trial import Trial
from spezia.contract.validation import Validation


def trials_table(trials: list[Trial]) -> Table:
    """Return a table of trials, a row each."""
    table = Table("trial", "state", "value", "steps", "params", box=None, pad_edge=False)
    for trial in trials:
        state = f"{trial.state} {trial.failure.failure_class}" if trial.failure else trial.state
        if trial.paused:
            state = f"{state} paused at rung {trial.paused.rung}"
        if trial.taken_from:
            state = f"{state} (as trial {trial.taken_from.number} of {trial.taken_from.study})"
        value = value_words(trial)
        table.add_row(str(trial.number), state, value, str(trial.step), params_words(trial.params))
    return table


def show_validation(found: Validation, console: Console) -> None:
    """Print what a study would search, and every warning about it with what to do."""
    spec = found.spec
    table = Table("searched", "range", box=None, pad_edge=False)
    for name, entry in spec.search_space.items():
        table.add_row(name, distribution_words(entry))
    for name, value in spec.fixed.items():
        table.add_row(name, f"fixed at {_word(value)}", style="dim")
    console.print(table)
    size = "a continuous space" if found.size_of_space is None else f"a space of {found.size_of_space} trials"
    longest = f" of up to {found.longest_trial_evaluations} evaluations" if found.longest_trial_evaluations else ""
    console.print(
        f"{spec.name}: {found.n_parameters} parameters, {size}; {spec.n_trials} trials{longest} "
        f"({found.n_trials_advised} or more are advised)",
        soft_wrap=True,
        highlight=False,
    )
    if found.quote is not None:
        console.print(f"quote: {quote_words(found.quote)}", soft_wrap=True, highlight=False)
    if found.warm_start is not None:
        console.print(f"warm start: {found.warm_start}", soft_wrap=True, markup=False, highlight=False)
    for warning in found.warnings:
        console.print(f"note: {warning}", soft_wrap=True, style="yellow", markup=False)
    if not found.warnings:
        console.print("nothing to warn about")


def presets_table(presets: list[Preset]) -> Table:
    """Return a table of presets, a row each."""
    table = Table("preset", "tasks", "for", box=None, pad_edge=False)
    for preset in presets:
        table.add_row(preset.name, ", ".join(preset.tasks), preset.summary)
    return table


def preset_table(preset: Preset) -> Table:
    """Return a table of the parameters of one preset, a row each."""
    table = Table("parameter", "default", "range", "source", box=None, pad_edge=False)
    for name, line in preset.parameters.items():
        table.add_row(name, default_words(line), range_words(line), line.source)
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
