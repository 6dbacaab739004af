"""The HTTP service: routes, errors, and the duties that run beside them."""

import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from service.dependencies import Parts
from service.errors import SpeziaError
from service.lifecycle.reap import REAP_SECONDS, reap
from service.lifecycle.sweep import sweep
from service.lifecycle.write_card import write_missing_cards
from service.routes import health, leases, presets, problems, studies, trials, workers
from service.search.proposer import Proposer
from service.settings import Settings
from service.store.engine import Clock, DatabaseClock, open_engine
from service.store.migrate import migrate
from service.store.transaction import Store

log = logging.getLogger(__name__)


def create_app(settings: Settings, clock: Clock | None = None) -> FastAPI:
    """Build the service on its database, migrating it if need be.

    Raises:
        ValueError: The database cannot be used; the message says what to do.
    """
    engine = open_engine(settings.database)
    migrate(engine)
    parts = Parts(Store(engine, clock or DatabaseClock()), Proposer(), settings.artifacts)
    app = FastAPI(
        title="Spezia",
        summary="Hyperparameter search for fine-tuning, as a service you run yourself",
        version="1",
        lifespan=_lifespan,
    )
    app.state.parts = parts
    app.state.settings = settings
    for resource in (studies, trials, presets, workers, leases, health):
        app.include_router(resource.router)
    problems.install(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Parts = app.state.parts
    ended = threading.Event()
    reaper = threading.Thread(target=_reap_until, args=(parts, ended), name="reaper")
    reaper.start()
    try:
        yield
    finally:
        ended.set()
        reaper.join()
        parts.proposer.close()
        parts.store.close()


def _reap_until(parts: Parts, ended: threading.Event) -> None:
    while True:
        try:
            reap(parts.store)
            sweep(parts.store, parts.artifacts)
            write_missing_cards(parts.store, parts.artifacts)
        except (SpeziaError, OSError) as error:
            # the next round tries again; the leases keep
            log.warning("could not reap, or not write a model card: %s", error)
        if ended.wait(REAP_SECONDS):
            return
