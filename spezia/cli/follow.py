"""Watching a study to its end and showing what came out."""

from spezia.cli.result import show_result
from spezia.client import Client, SpeziaError
from spezia.client.progress import POLL_SECONDS, watch
from spezia.contract.best_trial import BestTrial, ParetoFront
from spezia.contract.problem import Code
from spezia.contract.study import Study
from spezia.terminal.screen import Screen, print_json

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it."""


class StudyUnsuccessful(RuntimeError):
    """A study has no answer to show; the message says why."""


def follow(client: Client, study: Study, console: Screen, *, is_verbose: bool = False) -> BestTrial | ParetoFront:
    """Show a study until it has ended, then its result.

    Args:
        is_verbose: Whether the result shows all advice and metrics.

    Raises:
        StudyUnsuccessful: It failed, or was cancelled without a result.
    """
    ended = _successful(watch(client, study.name, console))
    try:
        best = client.best(ended.name)
    except SpeziaError as refused:
        if refused.problem.code != Code.NO_BEST:
            raise
        raise StudyUnsuccessful(f"study {ended.name} is {ended.state}: {refused}") from None
    show_result(best, ended, console, is_verbose=is_verbose)
    return best


def follow_as_json(client: Client, study: Study) -> None:
    """Print a study as a line of JSON each time that it has changed, until it has ended.

    Raises:
        StudyUnsuccessful: It failed.
    """
    printed: set[str] = set()

    def print_new(polled: Study) -> None:
        # seconds pass without any news
        state = polled.model_dump_json(exclude={"elapsed_seconds", "device_seconds"})
        if state not in printed:
            printed.clear()
            printed.add(state)
            print_json(polled, is_line=True)

    _successful(client.wait(study.name, POLL_SECONDS, print_new))


def _successful(ended: Study) -> Study:
    if ended.state == "failed":
        assert ended.failure is not None
        raise StudyUnsuccessful(f"study {ended.name} failed: {ended.failure.failure_class}: {ended.failure.message}")
    return ended
