"""The base of every HTTP body: strict types, no unknown fields, no number that JSON cannot hold.

The docstring of a field is published as its description, in `/docs` and in the OpenAPI schema. The error on an unknown
field names the field that was probably meant.
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

from spezia.contract.other_names import FIELD_NAMES, HYPERPARAMETER_NAMES

FieldError = tuple[tuple[str | int, ...], str, Any]
"""A refused field: its path inside the body, what is wrong with it and what to do, and the refused value."""

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
"""A name of a study or a preset, fit for a URL."""
Text = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]
"""A text of 1 to 1,000 characters without null characters, which PostgreSQL does not store."""
Identifier = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
"""A random id of 128 bits in hexadecimal."""
MAX_EXACT = 2**53
"""Largest whole number that every reader of JSON keeps exactly, those too that keep numbers as floats."""
ExactInt = Annotated[int, Field(ge=-MAX_EXACT, le=MAX_EXACT)]
"""A whole number that JSON keeps exactly."""
Count = Annotated[int, Field(ge=0, le=MAX_EXACT)]
"""A whole number from 0 to the largest that JSON keeps exactly."""

PositiveInt = Annotated[int, Field(ge=1, le=100_000)]
"""A whole number from 1 to 100,000."""


ONE, SEVERAL = "one", "several"
"""Names in pydantic's paths for the two forms of a field that holds one entry or a list of entries."""


class Wire(BaseModel):
    """Base of what people and workers send: immutable, and an unknown field is refused with the nearest known name."""

    model_config = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False, frozen=True, use_attribute_docstrings=True
    )

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
    """Base of what the service or a worker's own code writes: immutable, and a reader ignores unknown fields."""

    model_config = ConfigDict(
        strict=True, extra="ignore", allow_inf_nan=False, frozen=True, use_attribute_docstrings=True
    )

    def without_secrets(self) -> Self:
        """Return the reply as it may be stored, to answer a repeated `Idempotency-Key`."""
        return self


def one_or_several(value: Any) -> str:
    """Tell one entry from a list of entries, for pydantic's ``Discriminator``."""
    return SEVERAL if isinstance(value, list) else ONE


def refuse(title: str, errors: Iterable[FieldError]) -> None:
    """Raise one pydantic ``ValidationError`` that holds all of ``errors``; do nothing if there are none."""
    details = [
        InitErrorDetails(type=_custom_error("rule", message), loc=loc, input=value) for loc, message, value in errors
    ]
    if details:
        raise ValidationError.from_exception_data(title, details)


def nearest_name_hint(name: str, known: Iterable[str]) -> str:
    """Return the end of a message on an unknown name: the known name that was probably meant, or all known names."""
    known = sorted(known)
    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; choose from {', '.join(known)}"


def _with_nearest_name(error: Any, known: list[str]) -> InitErrorDetails:
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        kind: str | PydanticCustomError = _custom_error("unknown_field", _unknown_field(str(error["loc"][0]), known))
    elif error["type"] in ("rule", "unknown_field"):
        kind = _custom_error(error["type"], error["msg"])
    else:
        kind = error["type"]
    return InitErrorDetails(type=kind, loc=error["loc"], input=error["input"], ctx=error.get("ctx", {}))


def _unknown_field(name: str, known: list[str]) -> str:
    if FIELD_NAMES.get(name.lower()) in known:
        return f"unknown field; here it is {FIELD_NAMES[name.lower()]!r}"
    if name.lower() in HYPERPARAMETER_NAMES and "search_space" in known:
        ours = HYPERPARAMETER_NAMES[name.lower()]
        return f"unknown field; it is a hyperparameter: search it as search_space.{ours}, or set it as fixed.{ours}"
    return f"unknown field{nearest_name_hint(name, known)}"


def _custom_error(kind: str, message: str) -> PydanticCustomError:
    # pydantic fills {placeholders} in the template from its context: the message itself is the context
    return PydanticCustomError(kind, "{message}", {"message": message})
