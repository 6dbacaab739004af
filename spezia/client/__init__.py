"""The Python client of a service."""

from spezia.client.calls import ENDED
from spezia.client.client import Client
from spezia.client.errors import BadModel, CalledWrongly, ClientError, NoSpezia, NotReady, SpeziaError, Unreachable
from spezia.client.study_handle import StudyHandle

__all__ = [
    "ENDED",
    "BadModel",
    "CalledWrongly",
    "Client",
    "ClientError",
    "NoSpezia",
    "NotReady",
    "SpeziaError",
    "StudyHandle",
    "Unreachable",
]
