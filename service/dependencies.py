"""What a route may ask for; never an open transaction, because each lifecycle function opens its own."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated

from fastapi import Depends, Header, Request

from service.files.files import Files
from service.lifecycle.revision_cache import RevisionCache
from service.lifecycle.studies.follow_events import SharedLooks
from service.search.propose.proposer import Proposer
from service.store.store import Store
from service.webhook_sender import WebhookSender
from spezia.contract.protocol import TOKEN_HEADER

MAX_ANSWER_BYTES = 32 * 2**20
"""Memory for answers about studies that take long to work out, those used last."""

AdmitAgain = Callable[[], Awaitable[object]]
"""Returns if the key of a request is still good for it; an answer that takes long asks now and then."""


@dataclass(frozen=True)
class Parts:
    """What one service process is made of."""

    store: Store
    proposer: Proposer
    files: Files
    """What is uploaded: data sets, pretrained models, models of trials, checkpoints that were sent."""
    max_dataset_bytes: int
    """Size of the largest data set that may be uploaded."""
    max_model_bytes: int
    """Size of the largest pretrained model that may be uploaded."""
    max_artifact_bytes: int
    """Size of the largest file of a model that a worker may upload."""
    sent_checkpoint_bytes: int
    """Size that checkpoints may take together which workers send each other."""
    webhook_sender: WebhookSender
    looks: SharedLooks = field(default_factory=SharedLooks)
    """Looks for new events, shared by the streams of a study."""
    answers: RevisionCache = field(default_factory=partial(RevisionCache, MAX_ANSWER_BYTES))
    """Answers about studies that take long to work out."""


async def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return replace(parts, store=await _store(request))


async def _store(request: Request) -> Store:
    # the check of keys has noted whose studies this request may see; without its note there is an error and no answer
    store: Store = request.app.state.parts.store.seen_by(request.state.viewer)
    return store


async def _admit_again(request: Request) -> AdmitAgain:
    admit_again: AdmitAgain = request.state.admit_again
    return admit_again


AdmitAgainDep = Annotated[AdmitAgain, Depends(_admit_again)]
PartsDep = Annotated[Parts, Depends(_parts)]
StoreDep = Annotated[Store, Depends(_store)]
LeaseToken = Annotated[
    str, Header(alias=TOKEN_HEADER, pattern=r"^[0-9a-f]{32}$", description="Secret of the lease, as it came with it.")
]
