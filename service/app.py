"""The HTTP service: routes, errors, and the duties that run beside them."""

import logging
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager

from anyio.to_thread import current_default_thread_limiter
from fastapi import Depends, FastAPI

from service.dependencies import Parts
from service.errors import ServiceError
from service.files.files import Files
from service.files.open_files import open_files
from service.gate import Gate
from service.lease_and_heartbeat_terms import REAP_SECONDS
from service.lifecycle.leases.reap_all import reap_all
from service.lifecycle.model_folders import remove_dropped_folders, remove_unused_folders
from service.lifecycle.models.write_card import write_missing_cards
from service.lifecycle.share_files import share_files
from service.lifecycle.studies.summarise import summarise_old
from service.lifecycle.webhooks.deliver_webhooks import deliver_webhooks
from service.routes import (
    actions,
    curves,
    datasets,
    events,
    health,
    leases,
    metrics,
    models,
    openapi,
    plots,
    presets,
    studies,
    trials,
    trials_csv,
    webhooks,
    workers,
)
from service.routes.exception_handlers import add_exception_handlers
from service.routes.middleware.add_middleware import add_middleware
from service.routes.middleware.request_log import bind_path
from service.routes.threads import N_FOR_PEOPLE
from service.search.propose.proposer import Proposer
from service.settings import Settings
from service.store.sql.connections import what_lacks
from service.store.sql.engine import Clock, DatabaseClock, open_engine
from service.store.sql.migrate import migrate
from service.store.store import Store
from service.web import pages_router
from service.web.problem_pages import ProblemPagesMiddleware
from service.webhook_sender import WebhookSender

WEBHOOK_POLL_SECONDS = 1.0
"""How often the service looks for webhook messages to post; another process may have written what they tell."""
WEBHOOK_THREADS = 4
"""How many webhooks are posted to at once."""

_RESOURCES = (
    leases,
    workers,
    studies,
    actions,
    trials,
    presets,
    trials_csv,
    curves,
    plots,
    events,
    datasets,
    models,
    webhooks,
    health,
    metrics,
    pages_router,
)
"""Modules with a router, in the order in which a request is looked for in them: workers call most."""

log = logging.getLogger(__name__)


def create_app(settings: Settings, clock: Clock | None = None) -> FastAPI:
    """Build the service on its database, migrating it if need be.

    Raises:
        ValueError: The database cannot be used, or its files are elsewhere; the message says what to do.
        Unavailable: The database does not answer.
    """
    parts = _parts(settings, clock or DatabaseClock())
    app = FastAPI(
        title="Spezia",
        summary="Hyperparameter search for fine-tuning, as a service you run yourself",
        version="1",
        lifespan=_lifespan,
        responses=openapi.EVERYWHERE,
        openapi_tags=openapi.GROUPS,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(bind_path)],
        generate_unique_id_function=openapi.operation_name,
    )
    app.state.parts = parts
    app.state.gate = Gate(
        parts.store,
        is_private=settings.is_private,
        requests_per_minute=settings.requests_per_minute,
        worker_requests_per_minute=settings.worker_requests_per_minute,
    )
    app.state.settings = settings
    for resource in _RESOURCES:
        app.include_router(resource.router)
    add_exception_handlers(app)
    add_middleware(
        app,
        app.state.gate,
        parts.store.metrics,
        ProblemPagesMiddleware,
        is_private=settings.is_private,
        public_origin=settings.public_origin,
    )
    openapi.describe(app)
    return app


def _parts(settings: Settings, clock: Clock) -> Parts:
    files = open_files(settings)
    store = _open_store(settings, clock, files)
    return Parts(
        store=store,
        proposer=Proposer(store.metrics),
        files=files,
        max_dataset_bytes=settings.max_dataset_bytes,
        max_model_bytes=settings.max_model_bytes,
        max_artifact_bytes=settings.max_artifact_bytes,
        sent_checkpoint_bytes=settings.sent_checkpoint_bytes,
        webhook_sender=WebhookSender(settings.webhook_networks),
    )


def _open_store(settings: Settings, clock: Clock, files: Files) -> Store:
    engine = open_engine(settings.database, settings.connections_of_each)
    store = Store(engine, clock)
    try:
        migrate(engine)
        share_files(store, files)
        with store.reading() as tx:
            if (lacking := what_lacks(tx.connection, settings.connections_of_each)) is not None:
                log.warning("calls may fail for want of connections to the database: %s", lacking)
    except BaseException:
        store.close()
        raise
    return store


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Parts = app.state.parts
    current_default_thread_limiter().total_tokens = N_FOR_PEOPLE
    ended = threading.Event()
    threads = [
        threading.Thread(target=_reap_until, args=(parts, ended), name="reaper"),
        threading.Thread(target=_deliver_until, args=(parts, ended), name="webhooks"),
        threading.Thread(target=parts.store.listen, args=(ended,), name="listener"),
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        parts.proposer.close()
        parts.store.close()


def _reap_until(parts: Parts, ended: threading.Event) -> None:
    with _next_round_tries_again("tidy up the models"):
        remove_unused_folders(parts.store, parts.files)
    with _next_round_tries_again("tidy up uploads"):
        parts.files.remove_abandoned()
    while True:
        with _next_round_tries_again("reap"):
            reap_all(parts.store)
            parts.store.metrics.reaper_success.set_to_current_time()
        with _next_round_tries_again("tidy up the models"):
            remove_dropped_folders(parts.store, parts.files)
            write_missing_cards(parts.store, parts.files)
        with _next_round_tries_again("summarise older studies"):
            summarise_old(parts.store)
        if ended.wait(REAP_SECONDS):
            return


def _deliver_until(parts: Parts, ended: threading.Event) -> None:
    with ThreadPoolExecutor(WEBHOOK_THREADS, thread_name_prefix="webhook") as threads:
        while not ended.wait(WEBHOOK_POLL_SECONDS):
            with _next_round_tries_again("deliver webhooks"):
                deliver_webhooks(parts.store, parts.webhook_sender.send, threads)


@contextmanager
def _next_round_tries_again(duty: str) -> Iterator[None]:
    """Log what goes wrong; a thread that it ended would be missed by nobody, while the service looked healthy."""
    try:
        yield
    except ServiceError as error:
        log.warning("could not %s: %s", duty, error)
    except Exception:
        log.exception("could not %s", duty)
