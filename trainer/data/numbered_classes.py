"""Names of classes that the library ``datasets`` keeps beside numbers, on the hub and in Parquet files."""

from typing import Any

from spezia.common.lazy_module import LazyModule

datasets = LazyModule("datasets")


def named_values(feature: Any, values: list[Any]) -> list[Any]:
    """Return the ``values`` of a column of ``feature`` with the names of classes instead of their numbers.

    The column holds classes or lists of classes; one of any other kind stays as it is, and so does one of an unknown
    kind, where ``feature`` is ``None``.
    """
    if feature is None:
        return values
    if isinstance(feature, datasets.ClassLabel):
        return [_class_name(feature, value) for value in values]
    inner = getattr(feature, "feature", None)  # of a list
    if isinstance(inner, datasets.ClassLabel):
        return [None if each is None else [_class_name(inner, value) for value in each] for each in values]
    return values


def _class_name(feature: Any, value: int | None) -> str | None:
    # -1 is how data sets on the hub say that an example has no label
    name: str | None = feature.int2str(value) if value is not None and value >= 0 else None
    return name
