"""How log lines look, of the service and of workers alike: readable on a terminal, else one JSON object a line.

Modules log by `logging` as ever. What is bound by ``structlog.contextvars`` while they do stands on every line:
`request_id`, `study`, `work`, `trial`, `attempt`, `worker_id`, `lease_id`, as far as they are known. Never a token.
"""

import logging
import sys
from typing import Literal

import structlog
from structlog.dev import ConsoleRenderer, plain_traceback
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level, add_logger_name
from structlog.typing import EventDict, Processor

LogFormat = Literal["auto", "text", "json"]
"""auto: text where standard error is a terminal, else json."""
LogLevel = Literal["debug", "info", "warning", "error"]

_TALKATIVE = ("httpx2", "httpcore2", "alembic", "botocore", "aiobotocore", "s3fs", "fsspec")
"""They note every request, of which heartbeats are many, or the tokens that it is signed with, and every look at the
schema, as readiness takes."""


def set_up_logging(form: LogFormat, level: LogLevel) -> None:
    """Write the log of this process to standard error; does nothing where a log is set up already."""
    handler = logging.StreamHandler()
    is_text = form == "text" or (form == "auto" and sys.stderr.isatty())
    handler.setFormatter(text_formatter() if is_text else json_formatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def json_formatter() -> logging.Formatter:
    """One JSON object a line: ``at``, ``level``, ``logger``, ``message``, what is bound, ``exception``."""
    # as text, from `traceback`: structlog's own tracebacks show local variables, and tokens among them
    return _formatter(
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("message"),
        structlog.processors.JSONRenderer(),
    )


def text_formatter() -> logging.Formatter:
    """A line for people, what is bound behind the message."""
    colors = sys.stderr.isatty()
    return _formatter(ConsoleRenderer(colors=colors, timestamp_key="at", exception_formatter=plain_traceback))


def _without_colors(_logger: object, _method: str, fields: EventDict) -> EventDict:
    fields.pop("color_message", None)  # uvicorn's message again, for terminals
    return fields


def _without_rays(_logger: object, _method: str, fields: EventDict) -> EventDict:
    """Leave out what Ray notes on every record in a process that has imported it."""
    return {name: value for name, value in fields.items() if not name.startswith("_ray_")}


def _formatter(*renderers: Processor) -> logging.Formatter:
    return ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            ExtraAdder(),
            _without_colors,
            _without_rays,
            add_logger_name,
            add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        ],
        processors=[ProcessorFormatter.remove_processors_meta, *renderers],
    )
