"""Problem documents, the form of every error that leaves the service (RFC 9457)."""

from http import HTTPStatus

from fastapi.responses import JSONResponse
from structlog.contextvars import get_contextvars

from service.errors import Invalid, ServiceError
from spezia.contract.problem import MEDIA_TYPE, Code, FieldProblem, Problem


def problem_of(error: ServiceError) -> JSONResponse:
    """Make the problem document of an error that the service raises itself."""
    answer = problem_document(
        error.status, error.code, error.detail, error.errors if isinstance(error, Invalid) else None
    )
    answer.headers.update(error.headers)
    return answer


def unexpected_problem() -> JSONResponse:
    """Make the problem document of an error that nobody has foreseen."""
    return problem_document(
        500, Code.INTERNAL, "the service failed at this request; its log tells why, by the request_id"
    )


def problem_document(status: int, code: Code, detail: str, errors: list[FieldProblem] | None = None) -> JSONResponse:
    """Make a problem document; ``detail`` says what to do."""
    problem = Problem(
        type=f"urn:spezia:problem:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        errors=errors,
        request_id=get_contextvars().get("request_id"),
    )
    return JSONResponse(problem.model_dump(mode="json", exclude_none=True), status, media_type=MEDIA_TYPE)
