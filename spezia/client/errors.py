"""The errors that a client raises.

ClientError
├── SpeziaError     the service answered with a problem
├── NoSpezia        something else than a service answered
├── BadModel        what the service sent is no model
├── NotReady        what was asked for is not there yet
├── Unreachable     nobody answered
└── CalledWrongly   the address or the key can be none, so nobody was asked
"""

from spezia.contract.problem import Problem


class ClientError(Exception):
    """Base of the errors that a client raises."""


class Unreachable(ClientError):
    """Nobody answers at the address of the service."""


class CalledWrongly(ClientError):
    """The address or the API key that a client was given can be none; the message does not hold the key."""


class BadModel(ClientError):
    """The archive that should hold a model holds something else; nothing of it is kept."""


class NotReady(ClientError):
    """What was asked for is not there yet; the message says what is waited for."""


class NoSpezia(ClientError):
    """What answers at the address of the service answers as no service of this version does."""


class SpeziaError(ClientError):
    """The service refuses a request; ``problem`` says why and what to do.

    Args:
        retry_seconds: After how many seconds the service says to ask again; ``None``: it does not say.
    """

    def __init__(self, problem: Problem, retry_seconds: float | None = None) -> None:
        fields = [f"  {error.field}: {error.message}" for error in problem.errors or []]
        super().__init__("\n".join([problem.detail, *fields]))
        self.problem = problem
        self.retry_seconds = retry_seconds
