"""The base of every HTTP body: strict types, no unknown fields, no number that JSON cannot hold.

A refused field names itself and, when it looks like a slip, the field that was meant.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

FieldError = tuple[tuple[str | int, ...], str, Any]
"""Where (path inside the body), what is wrong and what to do, the refused value."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Text = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]
"""Without null characters, which PostgreSQL does not store."""
Identifier = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
"""A random id, made by whoever needs it: 128 bits in hexadecimal."""
Count = Annotated[int, Field(ge=0, le=2**53)]

PositiveInt = Annotated[int, Field(ge=1, le=100_000)]


ONE, SEVERAL = "one", "several"
"""How pydantic's paths call the two forms of a field that holds one entry or a list of them."""


class Wire(BaseModel):
    """What travels over HTTP. Immutable; unknown fields are refused with the nearest known name."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)

    @model_validator(mode="wrap")
    @classmethod
    def _name_the_nearest_field(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as refused:
            errors = refused.errors(include_url=False)
            if not any(error["type"] == "extra_forbidden" and len(error["loc"]) == 1 for error in errors):
                raise
            details = [_with_nearest_name(error, list(cls.model_fields)) for error in errors]
            raise ValidationError.from_exception_data(cls.__name__, details) from None


class Reply(BaseModel):
    """What only the service or a worker's own code writes; a reader ignores fields that it does not know."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, frozen=True)

    def without_secrets(self) -> Self:
        """What may be stored of it, for whoever sends the same `Idempotency-Key` again."""
        return self


def one_or_several(value: Any) -> str:
    """Tell the two forms apart, for pydantic's ``Discriminator``."""
    return SEVERAL if isinstance(value, list) else ONE


def refuse(title: str, errors: Iterable[FieldError]) -> None:
    """Raise one pydantic ``ValidationError`` that holds all of ``errors``; do nothing if there are none."""
    details = [
        InitErrorDetails(type=_custom_error("rule", message), loc=loc, input=value) for loc, message, value in errors
    ]
    if details:
        raise ValidationError.from_exception_data(title, details)


def nearest_name_hint(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'epochs'?`` for a slip, else the list of what is known."""
    known = sorted(known)
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"


def _with_nearest_name(error: Any, known: list[str]) -> InitErrorDetails:
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        hint = nearest_name_hint(str(error["loc"][0]), known)
        kind: str | PydanticCustomError = _custom_error("unknown_field", f"unknown field{hint}")
    elif error["type"] in ("rule", "unknown_field"):
        kind = _custom_error(error["type"], error["msg"])
    else:
        kind = error["type"]
    return InitErrorDetails(type=kind, loc=error["loc"], input=error["input"], ctx=error.get("ctx", {}))


def _custom_error(kind: str, message: str) -> PydanticCustomError:
    # pydantic fills {placeholders} in the template from its context: the message itself is the context
    return PydanticCustomError(kind, "{message}", {"message": message})
