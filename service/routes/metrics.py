"""The route of the metrics that Prometheus reads."""

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse

from service.dependencies import StoreDep
from service.lifecycle.show_metrics import show_metrics

router = APIRouter(tags=["health"])

_TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"


@router.get("/metrics", response_class=PlainTextResponse)
def get_metrics(store: StoreDep) -> Response:
    """Tell what to watch and to be alerted on, in Prometheus' text format; docs/operations.md explains each metric."""
    return Response(show_metrics(store), media_type=_TEXT_FORMAT)
