"""The layers that every request passes before a route sees it, and in which order."""

from collections.abc import Callable

from fastapi import FastAPI
from starlette.types import ASGIApp

from service.gate import Gate
from service.metrics import Metrics
from service.routes.middleware.answer_head import AnswerHeadMiddleware
from service.routes.middleware.body_limit import BodyLimitMiddleware
from service.routes.middleware.body_rate import BodyRateMiddleware
from service.routes.middleware.check_keys import CheckKeysMiddleware
from service.routes.middleware.loopback_host import LoopbackHostMiddleware
from service.routes.middleware.request_log import RequestLogMiddleware
from service.routes.middleware.safe_headers import SafeHeadersMiddleware


def add_middleware(
    app: FastAPI,
    gate: Gate,
    metrics: Metrics,
    problem_pages: Callable[[ASGIApp], ASGIApp],
    *,
    is_private: bool,
    public_origin: str | None,
) -> None:
    """Put all middleware around ``app``, the innermost layer first.

    Args:
        problem_pages: The layer that shows people a refusal of the inner ones as a page.
        is_private: Only this machine reaches the service, so the Host of a request is checked too.
        public_origin: The origin by which browsers reach the service through a proxy.
    """
    app.add_middleware(AnswerHeadMiddleware)
    app.add_middleware(BodyLimitMiddleware)
    app.add_middleware(BodyRateMiddleware)
    app.add_middleware(CheckKeysMiddleware, gate=gate, public_origin=public_origin)
    if is_private:
        app.add_middleware(LoopbackHostMiddleware)
    app.add_middleware(problem_pages)
    app.add_middleware(SafeHeadersMiddleware)
    app.add_middleware(RequestLogMiddleware, metrics=metrics)
