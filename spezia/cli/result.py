"""The answer of a study, for people at a terminal."""

from rich.console import Console
from rich.table import Table

from spezia.cli.words import duration_words, number_words, params_words
from spezia.contract.advice import Advice
from spezia.contract.best_trial import BestTrial, ParetoFront
from spezia.contract.study import Study, TrialCounts

MOST_ADVICE = 3
"""Largest number of pieces of advice on the screen."""


def show_result(best: BestTrial | ParetoFront, study: Study, console: Console) -> None:
    """Print the answer: params beside the baseline's, what was gained, and where the model lies."""
    if isinstance(best, ParetoFront):
        _show_front(best, study, console)
        return
    baseline = best.baseline.params if best.baseline else {}
    table = Table("", "best", *(["baseline"] if baseline else []), box=None, pad_edge=False)
    for name, value in best.params.items():
        table.add_row(name, number_words(value), *([number_words(baseline[name])] if name in baseline else []))
    scores = [number_words(best.value)]
    if best.baseline:
        scores.append("none" if best.baseline.value is None else number_words(best.baseline.value))
    table.add_row(best.metric, *scores, style="bold")
    console.print(f"\n{best.study}: trial {best.number} is the best of {_counts(best.trials)}")
    console.print(table)
    if (source := best.taken_from) is not None:
        console.print(f"its params are those of trial {source.number} of {source.study}", highlight=False)
    if best.improvement is not None:
        console.print(f"improvement over the baseline: {number_words(best.improvement)}")
    if best.confirmation is not None:
        console.print(f"confirmation: {best.confirmation.sentence}", soft_wrap=True, highlight=False)
    for metric, score in sorted(best.metrics.items()):
        console.print(f"{metric}: {number_words(score)}", highlight=False)
    _show_seconds(study, console)
    if best.model_directory:
        console.print(f"model: {best.model_directory}", soft_wrap=True, highlight=False)
    _show_notes([*study.warnings, *best.warnings], best.advice, best.study, console)


def _show_front(front: ParetoFront, study: Study, console: Console) -> None:
    """Print a row a trial, what they trade against each other first."""
    first = front.pareto[0]
    table = Table("trial", *first.values, "params", box=None, pad_edge=False)
    for one in front.pareto:
        figures = map(number_words, one.values.values())
        table.add_row(str(one.number), *figures, params_words(one.params))
    if first.baseline and first.baseline.values:
        figures = map(number_words, first.baseline.values.values())
        table.add_row("baseline", *figures, params_words(first.baseline.params), style="dim")
    console.print(f"\n{front.study}: {len(front.pareto)} of {_counts(first.trials)} are on the Pareto front")
    console.print(table)
    _show_seconds(study, console)
    for one in front.pareto:
        if one.model_directory:
            console.print(f"model of trial {one.number}: {one.model_directory}", soft_wrap=True, highlight=False)
    shared = [warning for warning in first.warnings if all(warning in one.warnings for one in front.pareto)]
    advice = [one for one in first.advice if one.sentence in shared]
    _show_notes([*study.warnings, *shared], advice, front.study, console)


def _show_notes(warnings: list[str], advice: list[Advice], name: str, console: Console) -> None:
    sentences = [one.sentence for one in advice]
    notes = [f"note: {warning}" for warning in dict.fromkeys(warnings) if warning not in sentences]
    notes += [f"advice: {sentence}" for sentence in sentences[:MOST_ADVICE]]
    if len(sentences) > MOST_ADVICE:
        notes.append(f"more advice is in `spezia best {name} --json`: {len(sentences)} in all")
    for note in notes:
        console.print(note, soft_wrap=True, style="yellow", markup=False)


def _show_seconds(study: Study, console: Console) -> None:
    """Print what the study has cost, and what was saved where that was measured."""
    line = f"device time: {duration_words(study.device_seconds)}"
    saved = {
        "pruning": study.saved_seconds.pruning,
        "early stopping": study.saved_seconds.early_stopping,
        "the trunk cache": study.saved_seconds.trunk_cache,
    }
    parts = [
        f"about {duration_words(seconds)} by {name}"
        for name, seconds in saved.items()
        if seconds and round(seconds) > 0
    ]
    console.print(f"{line}; saved: {', '.join(parts)}" if parts else line, soft_wrap=True, highlight=False)


def _counts(counts: TrialCounts) -> str:
    failed = f", {counts.fail} failed" if counts.fail else ""
    return f"{counts.n_finished} ({counts.pruned} pruned{failed})"
