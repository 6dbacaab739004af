"""The base of every HTTP body: strict types, no unknown fields, no number that JSON cannot hold.

The docstring of a field is published as its description, in `/docs` and in the OpenAPI schema. The error on an unknown
field names the field that was probably meant.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import wraps
from itertools import islice
from typing import Annotated, Any, ParamSpec, Self, cast

from pydantic import (
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, PydanticKnownError, core_schema

from spezia.contract.described import Described
from spezia.contract.hyperparameters import HYPERPARAMETERS
from spezia.contract.other_names import FIELD_NAMES, HYPERPARAMETER_NAMES, PLACES

_P = ParamSpec("_P")

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

MAX_ERRORS = 20
"""Largest number of errors that are found in one body; behind them nothing is checked, however much is sent."""
_MAX_NAME = 64
"""Length of the longest name that is compared with others or listed: comparing takes the product of both lengths."""
_MAX_LISTED = 64
"""Largest number of values that one message lists."""


ONE, SEVERAL = "one", "several"
"""Names in pydantic's paths for the two forms of a field that holds one entry or a list of entries."""


class Wire(Described):
    """Base of what people and workers send: immutable, and an unknown field is refused with the nearest known name."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)

    @model_validator(mode="wrap")
    @classmethod
    def _name_the_nearest_field(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        known = cls.model_fields
        unknown = [name for name in data if name not in known] if isinstance(data, dict) else []
        if len(unknown) > MAX_ERRORS:
            details = [_unknown_field(str(name), known, data[name]) for name in unknown[:MAX_ERRORS]]
            raise ValidationError.from_exception_data(cls.__name__, details)
        try:
            return handler(data)
        except ValidationError as refused:
            if not unknown and refused.error_count() <= MAX_ERRORS:
                raise
            details = [_rebuilt(error, known) for error in refused.errors(include_url=False)[:MAX_ERRORS]]
            raise ValidationError.from_exception_data(cls.__name__, details) from None


@dataclass(frozen=True)
class AtMost:
    """Annotates a mapping of at most ``n`` entries, which are counted before any of them is checked.

    With a ``max_length`` pydantic checks all entries first, and keeps every error.
    """

    n: int
    """Largest number of entries."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of the mapping, behind the count."""
        counted = {**handler(source), "max_length": self.n}
        return core_schema.no_info_before_validator_function(self._count, cast(CoreSchema, counted))

    def _count(self, entries: Any) -> Any:
        if isinstance(entries, dict) and len(entries) > self.n:
            found = {"field_type": "Dictionary", "max_length": self.n, "actual_length": len(entries)}
            raise PydanticKnownError("too_long", found)
        return entries


class Reply(Described):
    """Base of what the service or a worker's own code writes: immutable, and a reader ignores unknown fields."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, frozen=True)

    def without_secrets(self) -> Self:
        """Return the reply as it may be stored, to answer a repeated `Idempotency-Key`."""
        return self


def one_or_several(value: Any) -> str:
    """Tell one entry from a list of entries, for pydantic's ``Discriminator``."""
    return SEVERAL if isinstance(value, list) else ONE


def first_errors(errors: Iterable[FieldError]) -> list[FieldError]:
    """Return the first of ``errors``, as many as are told of one body, looking for no more."""
    return list(islice(errors, MAX_ERRORS))


def first_found(find: Callable[_P, Iterator[FieldError]]) -> Callable[_P, list[FieldError]]:
    """Let a function that yields errors return `first_errors` of them."""

    @wraps(find)
    def found(*args: _P.args, **kwargs: _P.kwargs) -> list[FieldError]:
        return first_errors(find(*args, **kwargs))

    return found


def refuse(title: str, errors: Iterable[FieldError]) -> None:
    """Raise one pydantic ``ValidationError`` that holds the first of ``errors``; do nothing if there are none."""
    details = [
        InitErrorDetails(type=_custom_error("rule", message), loc=loc, input=value)
        for loc, message, value in first_errors(errors)
    ]
    if details:
        raise ValidationError.from_exception_data(title, details)


def nearest_name_hint(name: str, known: Iterable[str]) -> str:
    """Return the end of a message on an unknown name: the known name that was probably meant, or all known names."""
    known = sorted(one for one in known if len(one) <= _MAX_NAME)
    close = get_close_matches(name, known, n=1, cutoff=0.6) if len(name) <= _MAX_NAME else []
    return f"; did you mean {close[0]!r}?" if close else f"; choose from {listed(known)}"


def listed(values: Sequence[object], between: str = ", ") -> str:
    """Return ``values`` as words of a message; where they are many or long, only their beginning."""
    words = [str(value) for value in values[:_MAX_LISTED]]
    words = [word if len(word) <= _MAX_NAME else f"{word[:_MAX_NAME]}…" for word in words]
    more = len(values) - len(words)
    return between.join([*words, f"{more} more"] if more else words)


def _rebuilt(error: Any, known: Collection[str]) -> InitErrorDetails:
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        return _unknown_field(str(error["loc"][0]), known, error["input"])
    is_ours = error["type"] in ("rule", "unknown_field")
    kind = _custom_error(error["type"], error["msg"]) if is_ours else error["type"]
    return InitErrorDetails(type=kind, loc=error["loc"], input=error["input"], ctx=error.get("ctx", {}))


def _unknown_field(name: str, known: Collection[str], value: object) -> InitErrorDetails:
    kind = _custom_error("unknown_field", _what_was_meant(name, known))
    return InitErrorDetails(type=kind, loc=(name,), input=value)


def _what_was_meant(name: str, known: Collection[str]) -> str:
    ours = FIELD_NAMES.get(name.lower(), name.lower())
    if ours in known:
        return f"unknown field; here it is {ours!r}"
    if "search_space" in known and ours in PLACES:
        return f"unknown field; write it as {PLACES[ours]}.{ours}"
    param = HYPERPARAMETER_NAMES.get(name.lower(), name.lower())
    if param in HYPERPARAMETERS and any(one in known for one in ("search_space", "early_stopping_patience")):
        return f"unknown field; it is a hyperparameter: search it as search_space.{param}, or set it as fixed.{param}"
    if set(known) == {"name", "options"}:
        return f"unknown field; options belong inside: write options.{name[:_MAX_NAME]}, if there is such a one"
    return f"unknown field{nearest_name_hint(name, known)}"


def _custom_error(kind: str, message: str) -> PydanticCustomError:
    # pydantic fills {placeholders} in the template from its context: the message itself is the context
    return PydanticCustomError(kind, "{message}", {"message": message})
