"""Errors that a person can mend, told in a line or two instead of a traceback."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from pydantic import ValidationError

from spezia.cli.follow import INTERRUPTED, StudyUnsuccessful
from spezia.cli.study_file import StudyFileError
from spezia.client import ClientError, SpeziaError
from spezia.common.extras import MISSING_EXTRA, MissingExtra
from spezia.contract.key import KEY_VARIABLE
from spezia.contract.plain_words import plain_errors as plain_errors_of
from spezia.contract.problem import Code
from spezia.terminal.screen import say

_NEXT_STEPS = {
    Code.UNAUTHORIZED: f"set {KEY_VARIABLE} to a good key; `spezia key create NAME` makes one beside the database",
    Code.STUDY_NOT_FOUND: "`spezia studies` shows yours",
    Code.TRIAL_NOT_FOUND: "`spezia trials STUDY` lists those there are",
    Code.NO_BEST: "`spezia trials STUDY` shows what its trials did",
}
"""What a person at a terminal does about a problem, by its code; the text of the problem speaks to programs."""


@contextmanager
def plain_errors(*kinds: type[Exception]) -> Iterator[None]:
    """End a command with one clear message and the exit code of `docs/command-line.md`.

    That is 1 where a person, a study or the machine is the cause, 2 where packages are missing and 130 after Ctrl-C.

    Args:
        kinds: What this command expects to go wrong besides a client's errors, bad study files and the system's errors.
    """
    foreseen: tuple[type[Exception], ...] = (ClientError, StudyFileError, StudyUnsuccessful, *kinds)
    try:
        yield
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, loc))}: {message}" for loc, message, _ in plain_errors_of(error.errors())]
        _tell("\n".join(problems))
    except SpeziaError as error:
        step = _NEXT_STEPS.get(error.problem.code)
        _tell(f"{error}; {step}" if step else str(error))
    except foreseen as error:
        _tell(str(error))
    except BrokenPipeError:
        # whoever reads has read enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        _tell(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    except MissingExtra as error:
        _tell(str(error))
        raise typer.Exit(MISSING_EXTRA) from None
    except KeyboardInterrupt:
        _tell("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    else:
        return
    raise typer.Exit(1)


def _tell(message: str) -> None:
    say(f"spezia: {message}", is_error=True)
