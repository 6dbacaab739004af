"""`Idempotency-Key`: a POST that is sent twice acts once, and is answered the same both times."""

from collections.abc import Callable

from service.errors import KeyReused
from service.store import idempotency
from service.store.idempotency import Answer as Answer  # routes know answers by this door
from service.store.store import Store


def idempotent(store: Store, key: str, request_sha256: str, act: Callable[[Store], Answer]) -> tuple[Answer, bool]:
    """Return what ``act`` answers and whether the answer is an old one.

    All that ``act`` does is one transaction with the answer kept for 24 hours, so neither is ever there without
    the other. A request in flight with the same key is waited for. Errors are not kept: what was refused may be
    sent again under the same key.

    Args:
        request_sha256: Digest of method, path and body of the request.

    Raises:
        KeyReused: The key was given to another request within the last 24 hours.
    """
    with store.writing() as tx:
        idempotency.forget_old(tx)
        kept = idempotency.claim(tx, key, request_sha256)
        if kept is None:
            answer = act(store.within(tx))
            idempotency.keep(tx, key, answer)
            return answer, False
    if kept.request_sha256 != request_sha256:
        raise KeyReused
    return kept.answer, True
