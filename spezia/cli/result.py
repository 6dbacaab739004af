"""The answer of a study, for people at a terminal."""

from rich.table import Table

from spezia.cli.tables import plain_table
from spezia.contract.advice import Advice
from spezia.contract.best_trial import BestTrial, ParetoFront
from spezia.contract.study import Study, TrialCounts
from spezia.terminal.screen import Screen
from spezia.terminal.words import duration_words, number_words, params_words

MOST_ADVICE = 3
"""Largest number of pieces of advice on the screen."""


def show_result(best: BestTrial | ParetoFront, study: Study, console: Screen, *, is_verbose: bool = False) -> None:
    """Print the answer: what was gained over the baseline, by which params, and where the model lies.

    Args:
        is_verbose: Whether all advice and all metrics are shown.
    """
    console.print_line("")
    if isinstance(best, ParetoFront):
        _show_front(best, study, console, is_verbose=is_verbose)
        return
    console.print_line(f"{best.study}: trial {best.number} is the best of {_counts(best.trials)}")
    console.print(_answer_table(best))
    if best.improvement is not None:
        console.print_line(f"improvement over the baseline: {number_words(best.improvement)}")
    if best.confirmation is not None:
        console.print_line(f"confirmation: {best.confirmation.sentence}")
    if (source := best.taken_from) is not None:
        console.print_line(f"its params are those of trial {source.number} of {source.study}")
    _show_metrics(best.metrics, console, is_verbose=is_verbose)
    _show_seconds(study, console)
    if best.model:  # where models are kept in a bucket, there is no directory
        console.print_line(f"model: {best.model_directory or f'spezia pull {best.study}'}")
    _show_notes([*study.warnings, *best.warnings], best.advice, best.study, console, is_verbose=is_verbose)


def _answer_table(best: BestTrial) -> Table:
    """Return value and params of the best trial, beside the baseline's where there is one."""
    headings = ["best", *(["baseline"] if best.baseline else [])]
    table = plain_table("", *headings, right=headings)
    values: list[float | None] = [best.value]
    columns = [best.params]
    if best.baseline:
        values.append(best.baseline.value)
        columns.append(best.baseline.params)
    table.add_row(best.metric, *("none" if value is None else number_words(value) for value in values), style="bold")
    for name in best.params:
        table.add_row(name, *(number_words(params[name]) if name in params else "" for params in columns))
    return table


def _show_metrics(metrics: dict[str, float], console: Screen, *, is_verbose: bool) -> None:
    """Print the scores on the test split, if there is one, and then, or else, those on the validation split."""
    tested = {name: score for name, score in sorted(metrics.items()) if name.startswith("test_")}
    others = {name: score for name, score in sorted(metrics.items()) if name not in tested}
    metrics = tested | others if is_verbose or not tested else tested
    if metrics:
        table = plain_table("metric", "score", right=("score",))
        table.show_header = False
        for metric, score in metrics.items():
            table.add_row(metric, number_words(score))
        console.print(table)


def _show_front(front: ParetoFront, study: Study, console: Screen, *, is_verbose: bool) -> None:
    """Print a row a trial, what they trade against each other first."""
    first = front.pareto[0]
    table = plain_table("trial", *first.values, "params", right=first.values)
    for one in front.pareto:
        figures = map(number_words, one.values.values())
        table.add_row(str(one.number), *figures, params_words(one.params))
    if first.baseline and first.baseline.values:
        figures = map(number_words, first.baseline.values.values())
        table.add_row("baseline", *figures, params_words(first.baseline.params), style="dim")
    console.print_line(f"{front.study}: {len(front.pareto)} of {_counts(first.trials)} are on the Pareto front")
    console.print(table)
    _show_seconds(study, console)
    for one in front.pareto:
        if one.model_directory:
            console.print_line(f"model of trial {one.number}: {one.model_directory}")
    shared = [warning for warning in first.warnings if all(warning in one.warnings for one in front.pareto)]
    advice = [one for one in first.advice if one.sentence in shared]
    _show_notes([*study.warnings, *shared], advice, front.study, console, is_verbose=is_verbose)


def _show_notes(warnings: list[str], advice: list[Advice], name: str, console: Screen, *, is_verbose: bool) -> None:
    sentences = [one.sentence for one in advice]
    notes = [f"note: {warning}" for warning in dict.fromkeys(warnings) if warning not in sentences]
    notes += [f"advice: {sentence}" for sentence in (sentences if is_verbose else sentences[:MOST_ADVICE])]
    if not is_verbose and len(sentences) > MOST_ADVICE:
        n_more = len(sentences) - MOST_ADVICE
        notes.append(f"{n_more} more {'piece' if n_more == 1 else 'pieces'} of advice: spezia best {name} --verbose")
    for note in notes:
        console.print_line(note, style="yellow")


def _show_seconds(study: Study, console: Screen) -> None:
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
    console.print_line(f"{line}; saved: {', '.join(parts)}" if parts else line)


def _counts(counts: TrialCounts) -> str:
    failed = f", {counts.fail} failed" if counts.fail else ""
    return f"{counts.n_finished} ({counts.pruned} pruned{failed})"
