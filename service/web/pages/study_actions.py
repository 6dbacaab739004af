"""What people may do with a study from its page, and why not where its state forbids it."""

from dataclasses import dataclass

from spezia.contract.study import Study


@dataclass(frozen=True, kw_only=True)
class Action:
    """A button of a study's page."""

    verb: str
    """Last part of the path that is posted to, or the dialog's own verb."""
    label: str
    why_not: str = ""
    """Reason why it cannot be done now; empty: it can."""
    asks: str = ""
    """Id of the dialog that asks before it is done; empty: it is done at once."""
    is_danger: bool = False


def actions(study: Study) -> list[Action]:
    """Return the buttons of a study's page, in order."""
    ended = f"The study is {study.state}." if study.finished_at else ""
    stopping = "The study is stopping already." if study.state == "stopping" else ended
    first = (
        Action(verb="resume", label="Resume")
        if study.state == "paused"
        else Action(verb="pause", label="Pause", why_not=stopping)
    )
    failed = "The study has failed, and would fail again; correct the cause and start a new one."
    limits = failed if study.state == "failed" else "The study is stopping." if study.state == "stopping" else ""
    return [
        first,
        Action(verb="extend", label="Extend", why_not=limits, asks="ask-extend"),
        Action(verb="clone", label="Clone", asks="ask-clone"),
        Action(verb="stop", label="Stop", why_not=stopping, asks="confirm-stop", is_danger=True),
        Action(verb="cancel", label="Cancel", why_not=ended, asks="confirm-cancel", is_danger=True),
    ]
