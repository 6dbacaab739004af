"""Watching a study to its end and showing what came out."""

from rich.console import Console

from spezia.cli.progress import watch
from spezia.cli.result import show_result
from spezia.client import Client, SpeziaError
from spezia.contract.best_trial import BestTrial, ParetoFront
from spezia.contract.problem import Code
from spezia.contract.study import Study

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


class StudyUnsuccessful(RuntimeError):
    """A study has no answer to show; the message says why."""


def follow(client: Client, study: Study, console: Console) -> BestTrial | ParetoFront:
    """Show a study until it has ended, then its result.

    Raises:
        StudyUnsuccessful: It failed, or was cancelled without a result.
    """
    ended = watch(client, study.name, console)
    if ended.state == "failed":
        assert ended.failure is not None
        raise StudyUnsuccessful(f"study {ended.name} failed: {ended.failure.failure_class}: {ended.failure.message}")
    try:
        best = client.best(ended.name)
    except SpeziaError as refused:
        if refused.problem.code != Code.NO_BEST:
            raise
        raise StudyUnsuccessful(f"study {ended.name} is {ended.state}: {refused}") from None
    show_result(best, ended, console)
    return best
