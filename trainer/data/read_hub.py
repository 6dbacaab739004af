"""Reads the columns of a data set on the hub."""

import re
from collections.abc import Sequence
from typing import Any

from spezia.common.lazy_module import LazyModule
from trainer.data.column_checks import Columns, Values, choose_columns
from trainer.data.hub_errors import HUB_ERRORS, describe_hub_error
from trainer.data.numbered_classes import named_values
from trainer.errors import DataError

datasets = LazyModule("datasets")
"""It loads pandas besides; most studies read files."""

PREFIX = "hub://"
"""Beginning of the address of a data set on the hub."""
_PATTERN = re.compile(r"hub://(?P<name>[^/:#]+/[^/:#]+)(?::(?P<config>[^#]+))?#(?P<split>.+)")


def read_hub(source: str, choices: Sequence[Columns]) -> Values:
    """Read one split of a data set on the hub; class ids become their names, images stay encoded.

    Args:
        source: an address ``hub://owner/name[:config]#split``.
        choices: columns that may be read; the first that are all there are.

    Raises:
        DataError: malformed address, unknown data set, config, split or column, or no connection.
    """
    match = _PATTERN.fullmatch(source)
    if match is None:
        raise DataError(f"{source} is not an address of a data set; write hub://owner/name[:config]#split")
    try:
        rows = datasets.load_dataset(match["name"], match["config"], split=match["split"])
    except (*HUB_ERRORS, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"{source} cannot be read: {describe_hub_error(error)}. Correct the address, or download it and give a file"
        ) from error
    columns = choose_columns(source, rows.column_names, choices)
    return {field: _values(rows, name) for field, name in columns.items()}


def _values(rows: Any, name: str) -> list[Any]:
    feature = rows.features[name]
    if isinstance(feature, datasets.Image):
        rows = rows.cast_column(name, datasets.Image(decode=False))
    return named_values(feature, list(rows[name]))
