"""The header `Idempotency-Key`, which the POST routes for people take."""

import hashlib
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel

from service.dependencies import StoreDep
from service.lifecycle.idempotent import Answer, idempotent
from service.store.store import Store
from spezia.contract.wire import Reply

IDEMPOTENCY_KEY = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"

Key = Annotated[
    str | None,
    Header(
        alias=IDEMPOTENCY_KEY,
        pattern=r"^[!-~]{1,255}$",
        description="A random text per request, such as a UUID. The same key and request again within 24 hours acts"
        f" no second time: it gets the first answer, with `{REPLAYED}: true`. The key of another request: 422.",
        examples=["0198c0de-5a7e-4c1b-9f5e-3d1c52d6f1aa"],
    ),
]


class Idempotency:
    """Answers one request so that sending it again under the same key changes nothing."""

    def __init__(self, request: Request, store: StoreDep, key: Key = None) -> None:
        self._target = f"{request.method} {request.url.path}"
        self._store = store
        self._key = key

    def answer(self, act: Callable[[Store], tuple[int, Reply, str | None]], body: BaseModel | None = None) -> Response:
        """Run ``act`` and answer with its status, reply and `Location`.

        If this very request was answered before, nothing is run, and the answer is the first one without its secrets.

        Args:
            body: The checked body of the request.
        """

        def as_answer(store: Store) -> Answer:
            status, reply, location = act(store)
            body, public = reply.model_dump_json(), reply.without_secrets()
            kept = body if public is reply else public.model_dump_json()
            return Answer(status=status, body=body, kept_body=kept, location=location)

        if self._key is None:
            return _response(as_answer(self._store), is_old=False)
        sent = f"{self._target}\n{body.model_dump_json() if body else ''}"
        digest = hashlib.sha256(sent.encode()).hexdigest()
        return _response(*idempotent(self._store, self._key, digest, as_answer))


IdempotencyDep = Annotated[Idempotency, Depends()]


def _response(answer: Answer, is_old: bool) -> Response:
    headers = {} if answer.location is None else {"Location": answer.location}
    if is_old:
        headers[REPLAYED] = "true"
    return Response(answer.body, answer.status, headers, media_type="application/json")
