"""Words between the services on one PostgreSQL (LISTEN and NOTIFY): they come with a commit, and may be lost.

Whoever goes by them looks by itself now and then: a service that was not connected has heard nothing, and a pooler
between us and the database may keep words to itself.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

from sqlalchemy import Engine, String, bindparam, func, select

from service.store.sql.connections import CHANNEL
from service.store.sql.statements import Call, Row, Statement

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
"""How often it is seen whether to end."""

RETRY_SECONDS = 5.0
"""How long it takes to connect again after the connection was lost."""

_NOTIFY = Statement(select(func.pg_notify(CHANNEL, bindparam("word"), type_=String()).label("said")))


def saying(word: str) -> Call[list[Row]]:
    """Say ``word`` to the services on this database, with the commit."""
    return _NOTIFY.rows(word=word)


def listen(engine: Engine, hear: Callable[[str], None], ended: threading.Event) -> None:
    """Tell each word that a service says, one's own too, until told to end; needs a connection to itself."""
    while not ended.is_set():
        try:
            _listen(engine, hear, ended)
        except engine.dialect.loaded_dbapi.Error as error:
            log.warning("words of other services are not heard, so work is found a little later: %s", error)
            ended.wait(RETRY_SECONDS)


def _listen(engine: Engine, hear: Callable[[str], None], ended: threading.Event) -> None:
    arguments, named = engine.dialect.create_connect_args(engine.url)
    # none of the pool's, which are for transactions
    driver: Any = engine.dialect.connect(*arguments, **named)
    with closing(driver):
        driver.autocommit = True
        driver.execute(f"LISTEN {CHANNEL}")
        while not ended.is_set():
            for heard in driver.notifies(timeout=LOOK_SECONDS):
                hear(heard.payload)
