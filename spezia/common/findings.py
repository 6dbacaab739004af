"""What `spezia doctor` finds; service and command line both look."""

from typing import Literal

from pydantic import BaseModel

State = Literal["well", "noted", "wrong"]
"""Whether something is as it should be, is a choice that is good to know of, or has to be mended."""


class Finding(BaseModel):
    """One thing that was looked at."""

    check: str
    """What was looked at, such as ``database``."""
    state: State
    """Whether it is well."""
    message: str
    """What was found."""
    remedy: str | None = None
    """What to do about it; null where nothing is."""


class Findings(BaseModel):
    """All that was looked at."""

    findings: list[Finding]
    """What was found, in the order in which one thing needs the other."""

    @property
    def is_wrong(self) -> bool:
        """Whether something has to be mended."""
        return any(finding.state == "wrong" for finding in self.findings)


def well(check: str, message: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(check=check, state="well", message=message)


def noted(check: str, message: str, remedy: str) -> Finding:
    """Return something that is good to know of."""
    return Finding(check=check, state="noted", message=message, remedy=remedy)


def wrong(check: str, message: str, remedy: str) -> Finding:
    """Return something that has to be mended, and how."""
    return Finding(check=check, state="wrong", message=message, remedy=remedy)
